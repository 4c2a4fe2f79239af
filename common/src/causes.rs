//! An error with all its causes on one line.

use std::error::Error;
use std::fmt;

/// Displays an error and its causes, separated by colons.
///
/// A cause that the text already ends with is left out: some libraries repeat it in their own text.
pub struct WithCauses<'a>(pub &'a dyn Error);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !line.ends_with(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            cause = error.source();
        }
        f.write_str(&line)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::WithCauses;

    #[test]
    fn each_cause_is_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{text}")]
        struct Layer {
            text: &'static str,
            source: io::Error,
        }
        let line = |text| {
            let source = io::Error::other("disk full");
            WithCauses(&Layer { text, source }).to_string()
        };
        assert_eq!(line("cannot write"), "cannot write: disk full");
        assert_eq!(line("cannot write: disk full"), "cannot write: disk full");
    }
}
