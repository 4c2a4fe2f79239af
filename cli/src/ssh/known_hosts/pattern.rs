//! Names in `known_hosts`: patterns, lists of them, hashes.

use ring::hmac;

/// Says whether a list of patterns names a host: one does, and none with `!` does.
pub(super) fn matches_list(patterns: &[String], host: &str) -> bool {
    let mut named = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern, host) => return false,
            Some(_) => {}
            None => named |= matches(pattern, host),
        }
    }
    named
}

/// Says whether a pattern with `*` and `?` names a host; letters count in either case.
pub(crate) fn matches(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (pattern.as_bytes(), host.as_bytes());
    let (mut at, mut of) = (0, 0);
    // Where the last `*` stands, and how much of the host it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while of < host.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte.eq_ignore_ascii_case(&host[of]) => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                of = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

pub(super) fn matches_hash(salt: &[u8], hash: &[u8; 20], host: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
    hmac::verify(&key, host.to_ascii_lowercase().as_bytes(), hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_any_number_and_question_marks_one() {
        for (pattern, host) in [
            ("*", "web-1"),
            ("web-?", "web-1"),
            ("*.example", "a.b.example"),
            ("*a*b*", "xxaxxbxx"),
            ("WEB-1", "web-1"),
            ("[10.0.0.1]:2222", "[10.0.0.1]:2222"),
            ("web-1**", "web-1"),
        ] {
            assert!(matches(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("", "web-1"),
            ("web-?", "web-10"),
            ("web", "web-1"),
            ("web-1", "web"),
            ("*.example", "example"),
            ("*a*b", "ba"),
        ] {
            assert!(!matches(pattern, host), "{pattern} {host}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(500);
        assert!(!matches(&format!("{pattern}b"), &"a".repeat(5000)));
    }
}
