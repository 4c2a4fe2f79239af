//! Masks secrets among the arguments of a call: `auth("user", "secret")`, `MD5('secret')`.
use super::guess::{is_prompt, is_token};
use super::masker::{Masker, Span};
use super::names::NameKind;
use super::value::is_reference;

/// Functions, each with the number of its secret argument; 1 is the first.
const FUNCTIONS: &[(&str, usize)] = &[
    ("auth", 2),
    ("login", 2),
    ("basic_auth", 2),
    ("basicauth", 2),
    ("httpbasicauth", 2),
    ("setbasicauth", 2),
    ("authenticate", 2),
    ("password", 1),
    ("old_password", 1),
    ("setpassword", 1),
    ("set_password", 1),
    ("make_password", 1),
    ("changeuserpassword", 2),
    ("md5", 1),
    ("sha1", 1),
    ("sha2", 1),
    ("sha256", 1),
    ("crypt", 1),
    ("hashpw", 1),
    ("generate_password_hash", 1),
    ("password_hash", 1),
    ("pgp_sym_encrypt", 2),
    ("pgp_sym_decrypt", 2),
    ("aes_encrypt", 2),
    ("aes_decrypt", 2),
    ("des_encrypt", 2),
];

/// Functions of pexpect and of browser tests that type their argument.
const TYPING: &[&str] = &["sendline", "send", "send_keys", "sendkeys", "type"];

/// Longest distance of the prompt before a typed text.
const MAX_PROMPT: usize = 96;

/// Longest name of a function, and longest argument before the secret.
const MAX_NAME: usize = 24;
const MAX_ARGUMENT: usize = 128;

/// Masks the secret arguments of known functions in `text`.
pub(super) fn mask(masker: &mut Masker<'_>, text: Span) {
    let mut from = text.start;
    while let Some(open) = masker.find(Span::new(from, text.end), b"(") {
        from = open + 1;
        if let Some(secret) = argument(masker, text, open)
            && !is_reference(masker.get(secret), NameKind::Secret, true)
        {
            masker.mask(secret);
            from = secret.end;
        }
    }
}

/// Returns the secret argument of the call whose parenthesis is at `open`.
fn argument(masker: &Masker<'_>, text: Span, open: usize) -> Option<Span> {
    // `auth=("user", "secret")` is a pair with the same meaning.
    let end = if open > text.start && masker.at(open - 1) == b'=' {
        open - 1
    } else {
        open
    };
    let floor = text.start.max(end.saturating_sub(MAX_NAME));
    let name = masker.run_back(Span::new(floor, end), |byte| {
        byte.is_ascii_alphanumeric() || byte == b'_'
    });
    let is = |known: &str| masker.get(name).eq_ignore_ascii_case(known.as_bytes());
    if TYPING.iter().any(|known| is(known)) {
        let typed = super::fields::quoted(masker, Span::new(open + 1, text.end))?;
        let before = Span::new(text.start.max(open.saturating_sub(MAX_PROMPT)), open);
        let secret = is_prompt(masker.get(before)) || is_token(masker.get(typed));
        return secret.then_some(typed);
    }
    let (_, nth) = FUNCTIONS.iter().find(|(known, _)| is(known))?;
    let mut at = open + 1;
    for _ in 1..*nth {
        let rest = Span::new(at, text.end.min(at + MAX_ARGUMENT));
        let blank = masker.run(rest, |byte| byte == b' ');
        let start = Span::new(blank.end, rest.end);
        let after = super::fields::quoted(masker, start).map_or(start.start, |part| part.end);
        at = masker.find(Span::new(after, rest.end), b",")? + 1;
    }
    let rest = Span::new(at, text.end);
    let blank = masker.run(rest, |byte| byte == b' ');
    super::fields::quoted(masker, Span::new(blank.end, text.end))
}

#[cfg(test)]
mod tests {
    use super::mask;
    use crate::masker::{Masker, Span};

    fn masked(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        let end = bytes.len();
        mask(&mut Masker::new(&mut bytes), Span::new(0, end));
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_secret_argument_of_a_call_is_masked() {
        assert_eq!(masked("db.auth('ada', 'pw1')"), "db.auth('ada', '***')");
        assert_eq!(
            masked("get(u, auth=(\"ada\",\"pw1\"))"),
            "get(u, auth=(\"ada\",\"***\"))"
        );
        assert_eq!(masked("MD5('pw1')"), "MD5('***')");
    }

    #[test]
    fn other_calls_and_variables_stay() {
        for text in [
            "print('pw1')",
            "auth(user, password)",
            "auth('ada')",
            "crypt('$pw')",
        ] {
            assert_eq!(masked(text), text);
        }
    }
}
