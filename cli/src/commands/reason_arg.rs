//! The reason of a request as an argument, with the limit of the record.

/// Maximum number of characters that the record accepts.
const LONGEST: usize = 500;

/// Returns the reason.
///
/// # Errors
/// It is longer than the record accepts.
pub(super) fn reason(text: &str) -> Result<String, String> {
    match text.chars().count() {
        length if length > LONGEST => Err(format!(
            "has {length} characters; expected at most {LONGEST}"
        )),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_as_long_as_the_record_accepts() {
        assert!(reason(&"ä".repeat(500)).is_ok());
        let error = reason(&"ä".repeat(501)).unwrap_err();
        assert!(error.contains("501"), "{error}");
    }
}
