//! Decides which names of flags, keys and headers stand for a secret.
//!
//! A name is read word by word, so `PGPASSWORD`, `clientSecret` and `api-key` are found, but not
//! `--passive`, `tokenize` and `compass`.

/// How certainly a name announces a secret value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// The value is always a secret.
    Secret,
    /// The value is a key, or the path of a file with a key: `--private-key`.
    SecretOrPath,
}

/// Longest part of a name that is read. The end decides, so the end is used.
const MAX_NAME: usize = 64;

/// Words that make a name secret in any position.
#[rustfmt::skip]
const STRONG: &[&str] = &[
    "password", "passwords", "passwd", "passphrase", "passcode", "passwort", "secret", "token",
    "apikey", "passkey", "secrets", "authtoken", "psk", "paperkey", "mnemonic", "jwt", "otp", "totp",
];

/// Words that make a name secret only as its last word.
#[rustfmt::skip]
const STRONG_LAST: &[&str] = &["masterauth", "pwd", "passw", "pword"];

/// Words that end like a short form of "password" but are not one: `bypass`, `keepass`.
#[rustfmt::skip]
const NO_PASSWORD: &[&str] = &[
    "bypass", "compass", "encompass", "surpass", "trespass", "overpass", "underpass", "multipass",
    "onepass", "twopass", "singlepass", "allpass", "highpass", "lowpass", "bandpass", "renderpass",
    "keepass", "lastpass", "firstpass", "subpass", "gopass", "backpass", "mempass", "askpass",
];

/// Endings of a word that is written without a boundary: `PGPASSWORD`, `accesstoken`.
#[rustfmt::skip]
const ENDINGS: &[&str] = &[
    "password", "passwd", "passphrase", "secret", "token", "apikey", "secretkey", "accesskey",
    "privatekey", "authkey",
];

/// Words whose value may also be a path.
#[rustfmt::skip]
const OR_PATH: &[&str] = &[
    "credential", "credentials", "creds", "cred", "accesskey", "secretkey", "privatekey",
];

/// Words that make a following `key` a secret: `api-key`, `AccountKey`.
#[rustfmt::skip]
const KEY_OF: &[&str] = &[
    "api", "access", "private", "secret", "encryption", "signing", "master", "account", "shared",
    "auth", "hmac", "aes", "luks", "service", "license", "app", "application", "consumer", "join", "setup",
    "integration", "deploy", "admin", "cipher", "storage", "webhook", "ingest", "ingestion",
    "registration", "activation", "enrollment", "provisioning", "bootstrap", "write", "preauth", "unseal", "recovery", "session", "subscription",
];

/// Last words that show that the value only describes a secret.
#[rustfmt::skip]
const DESCRIBES: &[&str] = &[
    "file", "files", "path", "paths", "dir", "directory", "name", "names", "id", "ids", "url",
    "uri", "endpoint", "type", "types", "ttl", "expiry", "expires", "expiration", "expire",
    "timeout", "policy", "policies", "length", "len", "size", "count", "counts", "min", "max",
    "format", "prompt", "stdin", "fd", "env", "command", "cmd", "helper", "store", "provider",
    "method", "mode", "scope", "scopes", "audience", "issuer", "host", "port", "algorithm", "alg",
    "cost", "rounds", "age", "days", "period", "accessor", "version", "versions", "enabled",
    "enable", "disabled", "required", "reset", "rotation", "rotate", "label", "labels", "ref",
    "refs", "namespace", "engine", "backend", "field", "fields", "header", "limit", "limits",
    "bucket", "budget", "regex", "pattern", "source", "src", "cache", "manager", "mount", "only",
    "location", "template", "generator", "uses", "cidrs", "renewable", "authentication", "auth",
    "login", "user", "username", "entropy", "strength", "lock", "less", "list", "annotation",
    "class", "key_path", "agent", "socket", "sock", "keyring", "storage", "script", "program",
    "properties", "option", "options", "hint", "change", "changed", "callback", "feedback", "char",
    "chars", "server", "add", "rm",
];

/// First words that make a name a switch or a number: `--ask-pass`, `max_token`.
#[rustfmt::skip]
const SWITCHES: &[&str] = &[
    "no", "ask", "with", "without", "skip", "show", "hide", "max", "min", "num", "disable",
    "enable", "require", "allow", "prompt", "list", "check", "force", "automount", "delete",
    "revoke", "rotate",
];

/// Most words in an operator's name.
const MAX_WORDS: usize = 16;

/// Returns what `name` says about its value; `None` for a harmless name.
///
/// `extra` are the operator's names, in lower case.
pub(super) fn classify(name: &[u8], extra: &[Box<[u8]>]) -> Option<NameKind> {
    let name = name
        .get(name.len().saturating_sub(MAX_NAME)..)
        .unwrap_or(name);
    if name.len() < 2 {
        return None;
    }
    if extra.iter().any(|own| has_words(name, own)) {
        return Some(NameKind::Secret);
    }
    if !may_be_secret(name) {
        return None;
    }
    let mut kind = None;
    let mut previous: &[u8] = b"";
    let mut first: &[u8] = b"";
    let mut last: &[u8] = b"";
    let mut existing = false;
    let mut before_last: &[u8] = b"";
    for word in (Words { rest: name }) {
        if first.is_empty() {
            first = word;
        }
        let found = word_kind(previous, word);
        if found.is_some() && kind != Some(NameKind::Secret) {
            kind = found;
        }
        // Digits and a stage at the end distinguish secrets; they do not change the meaning.
        if !is_suffix(word) {
            before_last = last;
            last = word;
        }
        existing |= word.eq_ignore_ascii_case(b"existing");
        previous = word;
    }
    if kind.is_none() && is_password(last) && !is_shell_directory(name) {
        kind = Some(NameKind::Secret);
    }
    kind?;
    // A chart's `existingSecret` is the name of a secret.
    if is_any(first, SWITCHES) || existing {
        return None;
    }
    if is_any(last, DESCRIBES) {
        // `secret_id` is the secret of a Vault AppRole.
        let app_role =
            last.eq_ignore_ascii_case(b"id") && before_last.eq_ignore_ascii_case(b"secret");
        return app_role.then_some(NameKind::Secret);
    }
    kind
}

/// Returns whether a last word is a short form of "password": `pass`, `dbpass`, `rootpw`.
fn is_password(last: &[u8]) -> bool {
    is_any(last, STRONG_LAST)
        || (ends_with(last, b"pass") || ends_with(last, b"pw")) && !is_any(last, NO_PASSWORD)
}

/// Rejects most harmless names quickly: every secret word contains one of these sequences of three
/// letters, or is `pw` at the end.
pub(super) fn may_be_secret(name: &[u8]) -> bool {
    let mut last_three = 0;
    for byte in name {
        last_three = (last_three << 8 | u32::from(byte | 0x20)) & 0xff_ffff;
        if matches!(
            &last_three.to_be_bytes(),
            b"\0pas"
                | b"\0pwd"
                | b"\0pwo"
                | b"\0sec"
                | b"\0tok"
                | b"\0key"
                | b"\0cre"
                | b"\0psk"
                | b"\0jwt"
                | b"\0otp"
                | b"\0mas"
        ) {
            return true;
        }
    }
    last_three & 0xffff == u32::from_be_bytes(*b"\0\0pw")
}

fn word_kind(previous: &[u8], word: &[u8]) -> Option<NameKind> {
    let word = without_digits(word);
    if word.len() < 3 {
        return None;
    }
    if is_any(word, STRONG) {
        return Some(NameKind::Secret);
    }
    if is_any(word, OR_PATH) || (word.eq_ignore_ascii_case(b"key") && is_any(previous, KEY_OF)) {
        return Some(NameKind::SecretOrPath);
    }
    // A single lower-case word such as `nontoken` is rarer than `authtoken` and `PGPASSWORD`.
    ENDINGS
        .iter()
        .any(|ending| ends_with(word, ending.as_bytes()))
        .then_some(NameKind::Secret)
}

/// `PWD` and `OLDPWD` are the shell's working directory.
fn is_shell_directory(name: &[u8]) -> bool {
    matches!(name, b"PWD" | b"OLDPWD")
}

fn is_suffix(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_digit)
        || is_any(
            word,
            &[
                "prod",
                "production",
                "staging",
                "dev",
                "test",
                "new",
                "old",
                "value",
                "base64",
                "b64",
            ],
        )
}

fn without_digits(word: &[u8]) -> &[u8] {
    let end = word
        .iter()
        .rposition(|byte| !byte.is_ascii_digit())
        .map_or(0, |at| at + 1);
    word.get(..end).unwrap_or(word)
}

fn is_any(word: &[u8], list: &[&str]) -> bool {
    list.iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

fn ends_with(word: &[u8], ending: &[u8]) -> bool {
    word.len()
        .checked_sub(ending.len())
        .and_then(|at| word.get(at..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
}

/// Returns whether the words of `own` occur in `name` in a row.
fn has_words(name: &[u8], own: &[u8]) -> bool {
    let mut at = Words { rest: name };
    for _ in 0..MAX_NAME {
        let mut here = Words { rest: at.rest };
        let mut wanted = Words { rest: own };
        if wanted
            .by_ref()
            .take(MAX_WORDS)
            .all(|word| here.next().is_some_and(|w| w.eq_ignore_ascii_case(word)))
        {
            return true;
        }
        if at.next().is_none() {
            return false;
        }
    }
    false
}

/// The words of a name: split at characters other than letters and digits, and at capitals in camel
/// case.
struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(u8::is_ascii_alphanumeric)?;
        let rest = self.rest.get(start..)?;
        let mut end = 1;
        while let Some(&byte) = rest.get(end) {
            let before = rest.get(end - 1).copied().unwrap_or(byte);
            let lower_next = rest.get(end + 1).is_some_and(u8::is_ascii_lowercase);
            let camel = byte.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || (before.is_ascii_uppercase() && lower_next));
            if !byte.is_ascii_alphanumeric() || camel {
                break;
            }
            end += 1;
        }
        let (word, after) = rest.split_at(end);
        self.rest = after;
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::{NameKind, classify};

    #[test]
    fn secret_names_are_found_in_every_spelling() {
        #[rustfmt::skip]
        let names = [
            "password", "PGPASSWORD", "MYSQL_PWD", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
            "clientSecret", "client-secret", "api-key", "apiKey", "APIKey", "X-Vault-Token",
            "secret_id", "db_password2", "DB_PASS", "SSHPASS", "spring.datasource.password",
            "_authToken", "AccountKey", "rootPassword", "PASSWORD_HASH", "ePASSWORD",
        ];
        for name in names {
            assert!(classify(name.as_bytes(), &[]).is_some(), "`{name}`");
        }
    }

    #[test]
    fn harmless_names_are_left_alone() {
        #[rustfmt::skip]
        let names = [
            "passive", "author", "keyboard", "tokenize", "compass", "token-file", "password-file",
            "PWD", "OLDPWD", "token_ttl", "token_policies", "ask-pass", "no-password", "with-token",
            "max_tokens", "key", "bypass", "TOKENIZERS_PARALLELISM", "secret-name",
            "PASSWORD_STORE_DIR", "pass-through", "SSH_AUTH_SOCK",
        ];
        for name in names {
            assert_eq!(classify(name.as_bytes(), &[]), None, "`{name}`");
        }
    }

    #[test]
    fn an_operators_name_matches_as_whole_words() {
        let own = [Box::from(&b"acme_pin"[..])];
        assert_eq!(classify(b"my-acme-pin", &own), Some(NameKind::Secret));
        assert_eq!(classify(b"acme_pinned", &own), None);
    }
}
