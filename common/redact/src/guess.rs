//! Decides whether a word in a suspicious position looks like a secret.

/// Login methods, as in `--auth basic`: these values are not secret.
const METHODS: &[&str] = &[
    "md5",
    "scram-sha-1",
    "scram-sha-256",
    "oauth2",
    "sha256",
    "cram-md5",
    "xoauth2",
    "ntlmv2",
    "aws-sigv4",
    "ldap3",
    "saml2",
    "krb5",
    "krb5i",
    "krb5p",
    "wpa2",
    "sha512",
    "sha1",
    "digest-md5",
];

/// Words before a `:` that are not user names.
#[rustfmt::skip]
const SCHEMES: &[&str] = &[
    "mailto", "npm", "sip", "sips", "acct", "xmpp", "http", "https", "git", "ssh", "file", "docker",
    "oci", "workspace", "link", "jdbc", "urn", "tel", "sha256", "sha512", "md5", "pkg", "host",
];

/// Words before the `:` of an address or of a member: `user:ada@example.org`.
#[rustfmt::skip]
const MEMBERS: &[&str] = &[
    "to", "cc", "bcc", "from", "github", "gitlab", "user", "group", "path", "env", "domain",
    "serviceaccount", "member", "principal", "deleted", "email", "mail",
];

/// Returns whether `word` is not a plain word, path, number, host, address or URL.
pub(super) fn is_token(word: &[u8]) -> bool {
    let kinds = Kinds::of(word);
    let mixed = kinds.digit && (kinds.lower || kinds.upper) || kinds.camel || kinds.odd;
    word.len() >= 4
        && !is_name(word)
        && (mixed || kinds.all_digits && word.len() >= 5)
        && !is_place(word)
}

/// Returns whether `word` consists of words and numbers, as names do: `eu-west-1`, `+app_update`.
fn is_name(word: &[u8]) -> bool {
    let word = word.strip_prefix(b"+").unwrap_or(word);
    let parts = || word.split(|byte| matches!(byte, b'-' | b'_'));
    let number = |part: &[u8]| part.len() < 3 && part.iter().all(u8::is_ascii_digit);
    let plain = |part: &[u8]| part.iter().all(u8::is_ascii_lowercase) || number(part);
    parts().count() > 1 && parts().all(plain)
}

/// Returns whether `word` looks random: long, with capitals and digits at least.
pub(super) fn is_random(word: &[u8]) -> bool {
    let kinds = Kinds::of(word);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_+".contains(byte);
    let body = word.strip_suffix(b"=").unwrap_or(word);
    body.len() >= 12
        && kinds.upper
        && body.iter().filter(|byte| byte.is_ascii_digit()).count() > 1
        && body.iter().all(plain)
        && !body.starts_with(b"-")
}

/// Returns whether `word` is a long hexadecimal number.
pub(super) fn is_hex(word: &[u8]) -> bool {
    word.len() >= 32
        && word
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether `word` is a method and not a secret: `basic`, `scram-sha-256`, a path or a URL.
pub(super) fn is_method(word: &[u8]) -> bool {
    word.iter()
        .all(|&byte| byte.is_ascii_lowercase() || matches!(byte, b'-' | b'_' | b','))
        || word.iter().all(u8::is_ascii_uppercase)
        || METHODS
            .iter()
            .any(|method| word.eq_ignore_ascii_case(method.as_bytes()))
        || is_place(word)
}

/// Returns the start of the secret in `user:secret` or `user%secret`.
pub(super) fn after_account(word: &[u8]) -> Option<usize> {
    let at = word
        .iter()
        .position(|&byte| matches!(byte, b':' | b'%' | b'/' | b'@'));
    let at = match at {
        // `DOMAIN/user%secret`
        Some(slash) if word.get(slash) == Some(&b'/') => {
            slash + memchr::memchr2(b'%', b':', word.get(slash..)?)?
        }
        // `user@realm:secret`
        Some(sign) if word.get(sign) == Some(&b'@') => {
            sign + memchr::memchr2(b'%', b':', word.get(sign..)?)?
        }
        other => other?,
    };
    let (user, secret) = (word.get(..at)?, word.get(at + 1..)?);
    let id = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    // The owner of a file or of a container, a port, a URL.
    let other = id(secret) && (secret.len() < 6 || id(user))
        || user == secret
        || secret.starts_with(b"//")
        || secret.starts_with(b"/")
        || is_known(user, SCHEMES);
    (!other && !user.contains(&b' ')).then_some(at + 1)
}

/// Returns start and end of the secret in `user:secret@host`, which has no scheme.
pub(super) fn in_login(word: &[u8]) -> Option<(usize, usize)> {
    // `:pserver:user:secret@host` begins with the method of CVS.
    let start = match word {
        [b':', rest @ ..] => memchr::memchr(b':', rest)? + 2,
        _ => 0,
    };
    let sign = memchr::memrchr(b'@', word)?;
    let (login, host) = (word.get(start..sign)?, word.get(sign + 1..)?);
    let colon = memchr::memchr(b':', login)?;
    let (user, secret) = (login.get(..colon)?, login.get(colon + 1..)?);
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/\\+".contains(byte);
    // In data source names of Go, `tcp(` and `unix(` begin an address.
    let end = host.iter().position(|byte| b":/(?".contains(byte));
    let name_of_host = host.get(..end.unwrap_or(host.len()))?;
    let mut labels = name_of_host.rsplit(|&byte| byte == b'.');
    let last = labels.next().unwrap_or_default();
    let dots = labels.count();
    let host_like = dots > 0 && last.len() > 1 && last.iter().all(u8::is_ascii_alphabetic)
        || dots == 3 && name_of_host.iter().copied().all(is_address)
        || name_of_host == b"localhost"
        || host.get(name_of_host.len()) == Some(&b'(')
            && name_of_host.iter().all(u8::is_ascii_lowercase);
    let fits = !user.is_empty()
        && user.iter().all(name)
        && !is_known(user, SCHEMES)
        && !is_known(user, MEMBERS)
        && host_like
        && !secret.is_empty()
        && !secret.starts_with(b"//")
        && !secret.contains(&b' ')
        && Kinds::of(secret).is_unusual();
    fits.then_some((start + colon + 1, sign))
}

/// Returns whether `text` ends in the prompt for a secret.
pub(super) fn is_prompt(text: &[u8]) -> bool {
    [
        &b"assword"[..],
        b"assphrase",
        b"asscode",
        b"ASSWORD",
        b"PIN",
    ]
    .iter()
    .any(|prompt| memchr::memmem::find(text, prompt).is_some())
}

/// Returns whether `word` is a path, a URL, a host name, an address or a file with a short
/// extension.
pub(super) fn is_place(word: &[u8]) -> bool {
    let lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let host = word.contains(&b'.')
        && word
            .iter()
            .all(|byte| lower(byte) || matches!(byte, b'.' | b'-' | b':' | b'_' | b'@'));
    let path = word.first().is_some_and(|byte| b"/~.\\".contains(byte));
    let url = memchr::memmem::find(word, b"://").is_some();
    let address = word
        .iter()
        .all(|byte| is_address(*byte) || matches!(byte, b':' | b'/'))
        && word.iter().any(|byte| matches!(byte, b'.' | b':'));
    let email = word.contains(&b'@') && word.contains(&b'.') && !word.contains(&b':');
    path || url || host || address || email
}

fn is_address(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.'
}

fn is_known(word: &[u8], list: &[&str]) -> bool {
    list.iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

/// Kinds of characters in a word.
#[derive(Clone, Copy, Debug, Default)]
struct Kinds {
    lower: bool,
    upper: bool,
    digit: bool,
    /// A character that is rare in names.
    odd: bool,
    /// A capital after a small letter.
    camel: bool,
    all_digits: bool,
}

impl Kinds {
    fn of(word: &[u8]) -> Self {
        let mut kinds = Self {
            all_digits: word.iter().all(u8::is_ascii_digit),
            ..Self::default()
        };
        let mut before = 0;
        for &byte in word {
            kinds.lower |= byte.is_ascii_lowercase();
            kinds.camel |= byte.is_ascii_uppercase() && u8::is_ascii_lowercase(&before);
            kinds.upper |= byte.is_ascii_uppercase();
            kinds.digit |= byte.is_ascii_digit();
            kinds.odd |= b"!#$%^&*+?~|".contains(&byte);
            before = byte;
        }
        kinds
    }

    fn is_unusual(self) -> bool {
        (self.digit && (self.lower || self.upper)) || (self.lower && self.upper) || self.odd
    }
}

#[cfg(test)]
mod tests {
    use super::{after_account, in_login, is_method, is_random, is_token};

    #[test]
    fn owners_ports_and_urls_are_no_accounts() {
        for word in [
            "1000:1000",
            "www-data:www-data",
            "host:8080",
            "https://x.example",
            "ada",
        ] {
            assert_eq!(after_account(word.as_bytes()), None, "`{word}`");
        }
        assert_eq!(after_account(b"ada:Pw1"), Some(4));
        assert_eq!(after_account(b"CORP/ada%Pw1"), Some(9));
    }

    #[test]
    fn only_a_login_at_a_host_is_one() {
        for word in [
            "git@github.com:o/r.git",
            "mailto:a1@b.example",
            "npm:pkg2@1.2.3",
            "nginx:1.27@sha256:0d17b565c37b",
            "group:artifact:1.0@jar",
        ] {
            assert_eq!(in_login(word.as_bytes()), None, "`{word}`");
        }
        assert_eq!(in_login(b"ada:Pw1x@tcp(10.0.0.9:3306)/shop"), Some((4, 8)));
        assert_eq!(in_login(b"CORP/ada:Pw1x@10.0.0.9"), Some((9, 13)));
    }

    #[test]
    fn words_paths_and_hosts_are_no_tokens() {
        for word in [
            "prod",
            "eu-west-1",
            "+app_update",
            "eu-west-1.example.org",
            "/srv/x1",
            "https://x/",
            "10.0.0.1",
        ] {
            assert!(!is_token(word.as_bytes()), "`{word}`");
        }
        assert!(is_token(b"Tr0ub4dor"));
        assert!(is_random(b"C13Attach77TokenZ"));
        assert!(!is_random(b"libfoo12-dev-common"));
        assert!(is_method(b"scram-sha-256"));
    }
}
