//! Finds password hashes in the form of crypt(5): `$id$salt$hash`.
use super::masker::step;

/// Methods of crypt(5), and of programs that use its form.
const METHODS: &[&str] = &[
    "1",
    "2a",
    "2b",
    "2x",
    "2y",
    "5",
    "6",
    "7",
    "y",
    "gy",
    "apr1",
    "md5",
    "sha1",
    "scrypt",
    "argon2i",
    "argon2d",
    "argon2id",
    "pbkdf2-sha256",
    "pbkdf2-sha512",
    "P",
    "H",
];

/// Methods before the first `$`, as Django writes them.
const BEFORE: &[&str] = &["pbkdf2_sha256", "pbkdf2_sha1", "bcrypt_sha256", "scrypt"];

/// Methods of RFC 2307, in braces before the hash.
#[rustfmt::skip]
const BRACES: &[&str] = &[
    "{SSHA}", "{SHA}", "{SMD5}", "{MD5}", "{CRYPT}", "{SSHA256}", "{SSHA512}", "{SHA256}",
    "{SHA512}", "{PBKDF2}", "{ARGON2}",
];

/// Longest name of a method.
const MAX_METHOD: usize = 13;

/// Shortest salt and hash; `$1$2` in a script is not a hash.
const MIN_BODY: usize = 22;

/// Returns start and end of the first hash in `text`.
pub(super) fn find(text: &[u8]) -> Option<(usize, usize)> {
    let mut past = 0;
    for start in memchr::memchr2_iter(b'$', b'{', text) {
        if start < past {
            continue;
        }
        if let Some(found) = after_name(text, start) {
            return Some(found);
        }
        if text.get(start) == Some(&b'{') {
            continue;
        }
        let rest = text.get(start + 1..)?;
        let name = rest
            .iter()
            .take(MAX_METHOD + 1)
            .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
            .count();
        step(name);
        if rest.get(name) != Some(&b'$')
            || !METHODS
                .iter()
                .any(|method| rest.get(..name) == Some(method.as_bytes()))
        {
            continue;
        }
        let body = rest.get(name + 1..)?;
        let len = body.iter().take_while(|byte| in_hash(**byte)).count();
        step(len);
        let end = start + 2 + name + len;
        if len >= MIN_BODY && body.iter().take(len).any(u8::is_ascii_alphanumeric) {
            return Some((start, end));
        }
        past = end;
    }
    None
}

/// Returns the hash after `{SSHA}` or `pbkdf2_sha256$`; the brace or `$` is at `start`.
fn after_name(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let (before, rest) = text.split_at_checked(start)?;
    let skip = if rest.first() == Some(&b'{') {
        let named = |brace: &&&str| {
            rest.get(..brace.len())
                .is_some_and(|own| own.eq_ignore_ascii_case(brace.as_bytes()))
        };
        BRACES.iter().find(named)?.len()
    } else {
        BEFORE
            .iter()
            .find(|name| before.ends_with(name.as_bytes()))?;
        1
    };
    let body = rest.get(skip..)?;
    let len = body.iter().take_while(|byte| in_hash(**byte)).count();
    step(len);
    (len >= MIN_BODY).then_some((start + skip, start + skip + len))
}

fn in_hash(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"./$=,+-_".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn hashes_are_found_and_parameters_are_not() {
        let hash = "x$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        assert_eq!(find(hash.as_bytes()), Some((1, hash.len())));
        assert!(find(b"$y$j9T$salty0salty0$hash9hash9hash9").is_some());
        assert_eq!(find(b"{SSHA}0123456789abcdefABCDEF=="), Some((6, 30)));
        assert!(find(b"pbkdf2_sha256$260000$salt$hash0hash0hash0").is_some());
        for text in [
            "$1$2",
            "{print $1, $2$3}",
            "$HOME/$USER/some/long/path/to/a/file",
        ] {
            assert_eq!(find(text.as_bytes()), None, "`{text}`");
        }
    }
}
