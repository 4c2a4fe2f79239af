//! Host names in `known_hosts`: patterns, lists of patterns, hashes.

use ring::hmac;
use vctl_common::glob;

use super::line::decoded;

/// Maximum length of a pattern. In OpenSSH a longer one matches nothing, nor does its list.
const LONGEST: usize = 1022;

/// Returns whether the names of a line include a host.
pub(super) fn names(names: &[u8], host: &str) -> bool {
    if names.starts_with(b"|") {
        return matches_hash(names, host).unwrap_or(false);
    }
    matches_list(names, host)
}

/// Returns whether a list of patterns includes a host: one pattern matches, and no negated one does.
fn matches_list(patterns: &[u8], host: &str) -> bool {
    let mut named = false;
    for pattern in patterns.split(|&byte| byte == b',') {
        let negated = pattern.strip_prefix(b"!");
        let pattern = negated.unwrap_or(pattern);
        if pattern.len() > LONGEST {
            return false;
        }
        if matches(pattern, host.as_bytes()) {
            if negated.is_some() {
                return false;
            }
            named = true;
        }
    }
    named
}

/// Returns whether a pattern with `*` and `?` matches a host, ignoring case.
pub(crate) fn matches(pattern: &[u8], host: &[u8]) -> bool {
    glob::matches(&pattern.to_ascii_lowercase(), &host.to_ascii_lowercase())
}

/// Returns whether `|1|SALT|HASH` is the hash of a host; `None` if it is not a valid hash.
fn matches_hash(names: &[u8], host: &str) -> Option<bool> {
    let rest = names.strip_prefix(b"|1|")?;
    let part = rest.iter().position(|&byte| byte == b'|')?;
    let salt = decoded(&rest[..part])?;
    let hash = decoded(&rest[part + 1..])?;
    // The salt is as long as a SHA-1 hash.
    if salt.len() != 20 {
        return None;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    Some(hmac::verify(&key, host.to_ascii_lowercase().as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_number_and_question_mark_one() {
        for (pattern, host) in [
            ("*", "web-1"),
            ("web-?", "web-1"),
            ("*.example", "a.b.example"),
            ("*a*b*", "xxaxxbxx"),
            ("WEB-1", "web-1"),
            ("[10.0.0.1]:2222", "[10.0.0.1]:2222"),
            ("web-1**", "web-1"),
        ] {
            assert!(
                matches(pattern.as_bytes(), host.as_bytes()),
                "{pattern} {host}"
            );
        }
        for (pattern, host) in [
            ("", "web-1"),
            ("web-?", "web-10"),
            ("web", "web-1"),
            ("web-1", "web"),
            ("*.example", "example"),
            ("*a*b", "ba"),
        ] {
            assert!(
                !matches(pattern.as_bytes(), host.as_bytes()),
                "{pattern} {host}"
            );
        }
    }

    #[test]
    fn negated_or_overlong_pattern_ends_the_list() {
        let long = format!("h,{}", "x".repeat(1023));
        for (names_of_line, named) in [
            ("h", true),
            ("x,h", true),
            ("*,!h", false),
            ("!h,*", false),
            ("!x,h", true),
            ("!x", false),
            ("h,", true),
            (&long, false),
            (&long[..1024], true),
            ("|1|AAAA|AAAA", false),
            ("|2|x", false),
        ] {
            assert_eq!(
                names(names_of_line.as_bytes(), "h"),
                named,
                "{names_of_line}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let pattern = "*a".repeat(500);
        let pattern = format!("{pattern}b");
        assert!(!matches(pattern.as_bytes(), "a".repeat(5000).as_bytes()));
    }
}
