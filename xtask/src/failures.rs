//! The failures of a test program, short and at the end: a log of CI is cut in its middle.

/// At most this many characters of each failure.
const MOST: usize = 1_200;

/// Returns a text per failed test: its name, and the beginning and the end of what it printed.
pub(crate) fn excerpts(output: &str) -> Vec<String> {
    let mut excerpts = Vec::new();
    let sections = output.split("\n---- ").skip(1);
    for section in sections {
        let Some((name, printed)) = section.split_once(" stdout ----\n") else {
            continue;
        };
        let printed = printed.split("\nfailures:\n").next().unwrap_or_default();
        let printed = printed
            .split("\nstack backtrace:")
            .next()
            .unwrap_or_default();
        excerpts.push(format!("{name}: {}", ends(printed.trim())));
    }
    excerpts
}

/// Cuts the middle of a long text.
fn ends(text: &str) -> String {
    let characters: Vec<_> = text.chars().collect();
    if characters.len() <= MOST {
        return text.to_owned();
    }
    let half = MOST / 2;
    let begin: String = characters[..half].iter().collect();
    let end: String = characters[characters.len() - half..].iter().collect();
    format!("{begin} [...] {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_excerpted_without_its_backtrace() {
        let output = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nthread 'a' panicked at x:1:\nsaid\nstack backtrace:\n 0: f\n\n---- b::c stdout ----\nother\n\n\nfailures:\n    a\n    b::c\n";
        assert_eq!(
            excerpts(output),
            ["a: thread 'a' panicked at x:1:\nsaid", "b::c: other"]
        );
    }

    #[test]
    fn a_long_failure_keeps_both_ends() {
        let text = format!("begin{}end", "x".repeat(MOST));
        let cut = ends(&text);
        assert!(cut.starts_with("begin") && cut.ends_with("end"));
        assert!(cut.len() < MOST + 10);
    }

    #[test]
    fn success_has_no_excerpt() {
        assert!(excerpts("test a ... ok\n\ntest result: ok.\n").is_empty());
    }
}
