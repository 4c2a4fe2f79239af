//! Answers to questions on a terminal.

/// Returns whether an answer is a yes. Only the whole word counts, because a yes may delete something.
pub fn is_yes(answer: &str) -> bool {
    matches!(&*answer.trim().to_lowercase(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_word_is_a_yes() {
        for yes in ["y\n", "Y", "yes", "Yes", "YES\n", " yes \r"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in [
            "", " ", "\n", "n", "no", "yikes", "yes!", "yess", "ye", "y n", "ja",
        ] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
