//! The outcome of a revocation for the record. Pure.

use serde_json::{Value, json};

/// Maximum number of parts that the record names. Its outcome has at most 16,384 characters.
const NAMED: usize = 40;
/// Characters of a part in the record.
const LENGTH: usize = 200;

/// The counts of the record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) tokens: usize,
    pub(super) sessions: usize,
    pub(super) certificates: usize,
}

/// Returns the outcome, with the parts that were not reached.
pub(super) fn outcome(counts: Counts, missed: &[String]) -> Value {
    json!({
        "tokens_revoked": counts.tokens,
        "sessions_ended": counts.sessions,
        "certificates_of_last_day": counts.certificates,
        "missed": missed.iter().take(NAMED).map(|part| cut(part)).collect::<Vec<_>>(),
        "missed_more": missed.len().saturating_sub(NAMED),
    })
}

/// Returns the outcome of a record that another one replaces, because more names of the user were found.
pub(super) fn continued_as(record: i64) -> Value {
    json!({ "continued_as": record })
}

/// Cuts a part to its length. JSON writes a control character as six characters.
fn cut(part: &str) -> String {
    let plain = |one: char| if one.is_control() { '?' } else { one };
    part.chars().take(LENGTH).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_always_fits_into_the_record() {
        let counts = Counts {
            tokens: usize::MAX,
            sessions: usize::MAX,
            certificates: usize::MAX,
        };
        for text in ["\"", "\\", "\u{1b}", "ä"] {
            let missed = vec![text.repeat(1000); 300];
            let outcome = outcome(counts, &missed);
            // Postgres writes a blank after each colon and comma.
            let blanks = 10 + NAMED;
            let length = outcome.to_string().chars().count() + blanks;
            assert!(length <= 16_384, "{text}: {length}");
            assert_eq!(outcome["missed_more"], 260);
        }
    }
}
