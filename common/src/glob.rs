//! Patterns with `*` and `?`.

/// Returns whether `text` matches `pattern`, in which `*` is any text and `?` one byte.
///
/// The time is at most the product of both lengths.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    // Position after the last `*`, and the end of the text that it covers so far.
    let mut star: Option<(usize, usize)> = None;
    while next < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, next));
            }
            Some(&byte) if byte == b'?' || byte == text[next] => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((after, covered)) = star else {
                    return false;
                };
                (at, next) = (after, covered + 1);
                star = Some((after, covered + 1));
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_cover_any_text() {
        for (pattern, text, expected) in [
            ("/usr/bin/*", "/usr/bin/id", true),
            ("/usr/bin/*", "/usr/sbin/id", false),
            ("*/pass?d", "/usr/bin/passwd", true),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
