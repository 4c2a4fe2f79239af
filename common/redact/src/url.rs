//! Masks passwords in URLs, and webhook URLs that are secret as a whole.
use super::guess::in_login;
use super::masker::{Masker, Span, step};
use super::names::NameKind;
use super::value::is_reference;

/// Shortest user part without a password that counts as a token: `https://<token>@github.com/…`.
const MIN_TOKEN_USER: usize = 20;

/// Paths after which the rest of the URL is the credential.
const WEBHOOKS: &[&str] = &[
    "hooks.slack.com/services/",
    "hooks.slack.com/workflows/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
    "webhook.office.com/webhookb2/",
    "api.telegram.org/bot",
    "chat.googleapis.com/v1/spaces/",
];

/// Masks the passwords of all URLs in `word`.
pub(super) fn mask(masker: &mut Masker<'_>, word: Span) {
    let mut from = word.start;
    while let Some(at) = masker.find(Span::new(from, word.end), b"://") {
        let start = at + 3;
        let rest = Span::new(start, word.end);
        if let Some(secret) = secret_in(masker.up_to(rest.end).get(start..).unwrap_or_default()) {
            let secret = Span::new(start + secret.start, start + secret.end);
            if !is_reference(masker.get(secret), NameKind::Secret, true) {
                masker.mask(secret);
            }
        }
        from = start;
    }
}

/// Masks the password in `user:secret@host` and `jdbc:oracle:thin:user/secret@host`, without `://`.
pub(super) fn mask_login(masker: &mut Masker<'_>, word: Span) {
    let text = masker.get(word);
    let oracle = text
        .starts_with(b"jdbc:oracle:")
        .then(|| {
            let sign = memchr::memchr(b'@', text)?;
            let slash = memchr::memchr(b'/', text.get(..sign)?)?;
            Some((slash + 1, sign))
        })
        .flatten();
    let login = || {
        in_login(text).or_else(|| {
            // The value of an assignment is read separately: `DSN=user:secret@tcp(host)/db`.
            let start = memchr::memchr(b'=', text)? + 1;
            let (from, to) = in_login(text.get(start..)?)?;
            Some((from + start, to + start))
        })
    };
    if let Some((from, to)) = oracle.or_else(login) {
        let secret = Span::new(word.start + from, word.start + to);
        if !is_reference(masker.get(secret), NameKind::Secret, true) {
            masker.mask(secret);
        }
    }
}

/// Returns the secret in the text after `://`.
fn secret_in(rest: &[u8]) -> Option<Span> {
    if let Some(path) = WEBHOOKS
        .iter()
        .find(|path| rest.starts_with(path.as_bytes()))
    {
        let len = rest
            .iter()
            .take_while(|&&byte| !b" \"'?".contains(&byte))
            .count();
        return Some(Span::new(path.len(), len));
    }
    let authority = rest
        .iter()
        .take_while(|&&byte| !ends_authority(byte))
        .count();
    step(authority);
    let host = rest.get(..authority)?;
    let user_end = match memchr::memrchr(b'@', host) {
        Some(at) => at,
        // The password contains an unencoded `/`, `?` or `#`: the text after `:` is not a port.
        None if has_odd_port(host) => {
            let tail = rest.get(authority..)?;
            authority + memchr::memchr(b'@', tail.get(..MAX_ODD).unwrap_or(tail))?
        }
        None => return None,
    };
    let user = rest.get(..user_end)?;
    if let Some(colon) = memchr::memchr(b':', user) {
        return Some(Span::new(colon + 1, user_end));
    }
    let token = user.len() >= MIN_TOKEN_USER
        && user
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        && user.iter().any(u8::is_ascii_digit);
    token.then(|| Span::new(0, user_end))
}

/// Longest distance of the `@` after the first slash of a badly encoded password.
const MAX_ODD: usize = 128;

fn has_odd_port(host: &[u8]) -> bool {
    memchr::memchr(b':', host)
        .and_then(|at| host.get(at + 1..))
        .is_some_and(|port| !port.iter().all(u8::is_ascii_digit) && !host.starts_with(b"["))
}

fn ends_authority(byte: u8) -> bool {
    matches!(
        byte,
        b'/' | b'?'
            | b'#'
            | b' '
            | b'\t'
            | b'\n'
            | b'"'
            | b'\''
            | b'\\'
            | b'`'
            | b'<'
            | b'>'
            | b','
    )
}
