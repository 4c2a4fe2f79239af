//! Decides whether a value is a secret, or only refers to one.
use super::names::NameKind;

/// Values of switches. A password with such a value is not worth masking.
const WORDS: &[&str] = &[
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "null",
    "none",
    "nil",
    "always",
    "never",
    "auto",
    "required",
    "optional",
    "prompt",
    "ask",
    "stdin",
    "default",
    "enabled",
    "disabled",
    "enable",
    "disable",
    "undefined",
    "string",
    "redacted",
];

/// Beginnings of values that name the location of a secret.
const ELSEWHERE: &[&str] = &[
    "/run/secrets/",
    "/var/run/secrets/",
    "/dev/stdin",
    "/dev/fd/",
    "/dev/null",
    "/proc/self/fd/",
    "arn:",
    "op://",
    "awskms:",
    "gcpkms:",
    "env:",
    "fd:",
    "keyring:",
    "keychain:",
    "vault:",
    "ssm:",
    "sm://",
    "projects/",
];

/// Returns whether `value`, without its quotes, contains no secret itself.
///
/// `expands`: a shell will still replace `$name` in it.
pub(super) fn is_reference(value: &[u8], kind: NameKind, expands: bool) -> bool {
    let Some(&first) = value.first() else {
        return true;
    };
    // The rest of a cut pattern: the `/` of `s/password=.*/password=/`.
    if value.len() <= 2 && !value.iter().any(u8::is_ascii_alphanumeric) {
        return true;
    }
    if kind == NameKind::SecretOrPath && is_path(value) {
        return true;
    }
    match first {
        b'$' => is_variable(value, expands),
        b'@' => is_file(value),
        b'{' => value.starts_with(b"{{") && value.ends_with(b"}}"),
        b'<' => value.ends_with(b">"),
        b'%' => value == b"%s" || (value.len() > 2 && value.ends_with(b"%")),
        b'-' => value.len() == 1,
        b'0'..=b'9' => value.len() <= 2,
        b'.' | b'[' | b'(' => is_pattern(value),
        b'/' | b'a'..=b'z' | b'A'..=b'Z' => {
            (value.len() <= 9
                && WORDS
                    .iter()
                    .any(|word| value.eq_ignore_ascii_case(word.as_bytes())))
                || ELSEWHERE
                    .iter()
                    .any(|place| value.starts_with(place.as_bytes()))
        }
        _ => false,
    }
}

/// Returns whether `value` is `$NAME`, `${NAME}`, `$1`, several of them, or the `$` before a masked
/// `$(…)`.
///
/// Outside a command string nothing is expanded, and `$ecret` is a password: there, only capitals
/// and braces count as a variable, as in the syntax of unit files and compose files.
fn is_variable(value: &[u8], expands: bool) -> bool {
    if value == b"$" {
        return expands;
    }
    // The command in `$(…)` is read separately.
    if value.starts_with(b"$(") && value.ends_with(b")") {
        return expands;
    }
    let mut names = value.split(|&byte| byte == b'$');
    // The text before the first `$` is literal.
    names.next().is_some_and(<[u8]>::is_empty)
        && names.all(|name| {
            let (name, rest, braced) = if let Some(inner) = name.strip_prefix(b"{") {
                let Some(end) = memchr::memchr(b'}', inner) else {
                    return false;
                };
                (&inner[..end], &inner[end + 1..], true)
            } else {
                let end = name.iter().take_while(|&&byte| is_name_byte(byte)).count();
                (&name[..end], &name[end..], false)
            };
            !name.is_empty()
                && name.iter().all(|&byte| is_name_byte(byte))
                && !rest.iter().any(u8::is_ascii_alphanumeric)
                && (expands
                    || braced
                    || (rest.is_empty() && !name.iter().any(u8::is_ascii_lowercase)))
        })
}

fn is_name_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Returns whether the value is read from a file: `@file`, but not `@dm1n!`.
fn is_file(value: &[u8]) -> bool {
    let name = value.get(1..).unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-');
    !name.is_empty()
        && (name.iter().all(plain)
            || (name.iter().any(|byte| matches!(byte, b'/' | b'.'))
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"/._-~".contains(byte))))
}

/// Returns whether `value` is a search pattern of grep or sed: `.*`, `[^"]*`, `(.*)`.
fn is_pattern(value: &[u8]) -> bool {
    [&b".*"[..], b".+", b"[^", b"(.", b"([", b"[a-", b"[A-"]
        .iter()
        .any(|start| value.starts_with(start))
}

/// Returns whether `value` is a path, or a file name with a short extension.
fn is_path(value: &[u8]) -> bool {
    if [&b"/"[..], b"./", b"../", b"~", b"file:"]
        .iter()
        .any(|start| value.starts_with(start))
    {
        return true;
    }
    let ending = value
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric())
        .count();
    let dot = value
        .len()
        .checked_sub(ending + 1)
        .and_then(|at| value.get(at));
    (1..=5).contains(&ending) && dot == Some(&b'.')
}

#[cfg(test)]
mod tests {
    use super::is_reference;
    use crate::names::NameKind::{Secret, SecretOrPath};

    #[test]
    fn references_are_no_secrets() {
        for value in [
            "",
            "-",
            "$DB_PASS",
            "${x}",
            "@file",
            "@/etc/pw",
            "/run/secrets/db",
            "true",
            "{{ pw }}",
            "<password>",
            "2",
        ] {
            assert!(is_reference(value.as_bytes(), Secret, false), "`{value}`");
        }
        assert!(is_reference(b"$x", Secret, true));
        assert!(is_reference(b"$user:${pass}", Secret, true));
        assert!(is_reference(b"/etc/ssl/server.key", SecretOrPath, false));
    }

    #[test]
    fn passwords_that_look_odd_are_still_secrets() {
        for value in [
            "$ecret",
            "@dm1n!",
            "-s3cret",
            "/slash",
            "p@ss",
            "12345",
            "a",
            "${x:-fallback}",
        ] {
            assert!(!is_reference(value.as_bytes(), Secret, false), "`{value}`");
        }
    }
}
