//! Masks keys with values inside one word: assignments, JSON members, headers.
use super::masker::{Masker, Span, step};
use super::names::{NameKind, classify};
use super::shell::Quote;
use super::value::is_reference;

/// Longest key before `=` or `:`.
const MAX_KEY: usize = 64;

/// Longest distance to the key of the next field.
const MAX_NEXT_KEY: usize = 40;

/// Longest reference that is searched for further keys. Without this limit, `x_token=$x_token=$…`
/// would be read again from each key.
const MAX_REFERENCE: usize = 256;

/// Longest attributes of an element with a secret.
const MAX_ATTRIBUTES: usize = 256;

/// Query parameters with a signature or a code: secret only in a URL.
const QUERY_ONLY: &[&str] = &["sig", "signature", "x-amz-signature", "x-goog-signature"];

/// Headers with a secret value, although their name contains no secret word.
const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-auth",
    "x-amz-signature",
];

/// Authentication schemes; they stay readable.
const SCHEMES: &[&str] = &[
    "bearer",
    "basic",
    "token",
    "digest",
    "apikey",
    "negotiate",
    "ntlm",
    "aws4-hmac-sha256",
    "splunk",
    "key",
    "bot",
];

/// Position of the secret in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// From this offset to the end.
    Value(usize),
    /// The value, or the part after the scheme, is in the next word.
    Cut,
}

/// Finds the secret in `Name: value`.
///
/// `expected`: a flag announced a header, so every secret name counts. Otherwise `token: x` may be
/// a sentence, and only names in the form of a header count.
pub(super) fn header(text: &[u8], extra: &[Box<[u8]>], expected: bool) -> Option<Header> {
    let colon = text.iter().take(MAX_KEY).position(|&byte| byte == b':')?;
    let name = text.get(..colon)?;
    if name.is_empty()
        || !name
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        return None;
    }
    let known = is_any(name, HEADERS);
    let likely = || (expected || name.contains(&b'-')) && classify(name, extra).is_some();
    if !known && !likely() {
        return None;
    }
    let rest = text.get(colon + 1..)?;
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    // `token://` and `host:port` are not headers.
    if rest.starts_with(b"//") {
        return None;
    }
    let mut at = colon + 1 + spaces;
    let value = text.get(at..)?;
    let scheme = value.iter().take_while(|&&byte| byte != b' ').count();
    if is_scheme(value.get(..scheme)?) {
        let gap = value
            .iter()
            .skip(scheme)
            .take_while(|&&byte| byte == b' ')
            .count();
        at += scheme + gap;
    }
    Some(if at >= text.len() {
        Header::Cut
    } else {
        Header::Value(at)
    })
}

pub(super) fn is_scheme(word: &[u8]) -> bool {
    is_any(word, SCHEMES)
}

/// Masks the values of secret keys in `key=value`, alone or in a list.
///
/// A value ends at the end of the word, or where the next `,key=`, `;key=` or `&key=` begins:
/// passwords contain commas more often than lists contain bare words. In a `text` of several words,
/// a quoted value ends with its quote.
pub(super) fn mask_assignments(
    masker: &mut Masker<'_>,
    word: Span,
    extra: &[Box<[u8]>],
    expands: bool,
    text: bool,
) {
    let mut from = word.start;
    while let Some(equals) = masker.find(Span::new(from, word.end), b"=") {
        from = equals + 1;
        let key = key_before(masker, word.start, equals);
        // In running text only a leading assignment counts here; the others are read word by word.
        if key.is_empty() || (text && key.start != word.start) {
            continue;
        }
        let name = masker.get(key);
        // `PWD` after a `;` is a field of a connection string and not a working directory.
        let field = key.start > word.start && masker.at(key.start - 1) == b';';
        // QEMU's `-object secret,id=x,data=X`.
        let secret = masker.rest(word.start).starts_with(b"secret,");
        let query = key.start > word.start && matches!(masker.at(key.start - 1), b'?' | b'&');
        if name == b"user" || name == b"username" {
            mask_account(masker, Span::new(equals + 1, word.end), expands);
        }
        let name = masker.get(key);
        let kind = classify(name, extra)
            .or_else(|| (secret && name == b"data").then_some(NameKind::Secret))
            .or_else(|| (field && name == b"PWD").then_some(NameKind::Secret))
            .or_else(|| (query && is_any(name, QUERY_ONLY)).then_some(NameKind::Secret));
        let Some(kind) = kind else { continue };
        let value = value_after(masker, Span::new(equals + 1, word.end), query);
        if !is_reference(masker.get(value), kind, expands) {
            masker.mask(value);
            from = value.end.max(from);
        } else if value.len() > MAX_REFERENCE {
            from = value.end;
        }
    }
}

/// Masks the secret of `user=name%secret`, as in options of mount.cifs.
fn mask_account(masker: &mut Masker<'_>, rest: Span, expands: bool) {
    let value = masker.run(rest, |byte| !matches!(byte, b',' | b' ' | b'&' | b';'));
    let Some(percent) = memchr::memchr(b'%', masker.get(value)) else {
        return;
    };
    if percent == 0 {
        return;
    }
    let secret = value.skip(percent + 1);
    // `%40` is a byte in a URL.
    let url = masker.get(secret).iter().take(2).all(u8::is_ascii_hexdigit);
    if !url && !is_reference(masker.get(secret), NameKind::Secret, expands) {
        masker.mask(secret);
    }
}

/// Masks the text of secret elements: `<password>…</password>`.
pub(super) fn mask_elements(masker: &mut Masker<'_>, text: Span, extra: &[Box<[u8]>]) {
    let mut from = text.start;
    while let Some(open) = masker.find(Span::new(from, text.end), b"<") {
        from = open + 1;
        let name = masker.run(Span::new(from, text.end), |byte| {
            is_key_byte(byte) || byte == b':'
        });
        if name.is_empty() || classify(masker.get(name), extra).is_none() {
            continue;
        }
        let rest = Span::new(name.end, text.end.min(name.end + MAX_ATTRIBUTES));
        let Some(end) = masker.find(rest, b">") else {
            continue;
        };
        let value = masker.run(Span::new(end + 1, text.end), |byte| byte != b'<');
        let closed = masker.at(value.end) == b'<' && masker.at(value.end + 1) == b'/';
        if closed && !is_reference(masker.get(value), NameKind::Secret, false) {
            masker.mask(value);
        }
        from = value.end.max(from);
    }
}

/// Masks the values of secret members: `{"password": "…"}`; the quotes may be escaped.
pub(super) fn mask_json(masker: &mut Masker<'_>, word: Span, extra: &[Box<[u8]>]) {
    let mut from = word.start;
    while let Some(colon) = masker.find(Span::new(from, word.end), b":") {
        from = colon + 1;
        let Some((key, in_quotes)) = member_before(masker, word.start, colon) else {
            continue;
        };
        let Some(kind) = classify(masker.get(key), extra) else {
            continue;
        };
        let blank = masker.run(Span::new(from, word.end), |byte| byte.is_ascii_whitespace());
        let rest = Span::new(blank.end, word.end);
        let inside = quoted(masker, rest);
        // A name without quotes is a member only if its value has quotes: `password: "…"`. In
        // `expect "password:" {…}`, the quote closes one that was opened before the name.
        if !in_quotes && inside.is_none_or(|inside| closes(masker, word, key, inside)) {
            continue;
        }
        let value = inside.unwrap_or_else(|| match masker.at(rest.start) {
            // No JSON value begins with a star: these are the stars of an earlier pass.
            b'*' => masker.run(rest, |byte| byte == b'*'),
            _ => masker.run(rest, |byte| !b",}] \n\t".contains(&byte)),
        });
        if masker.at(value.start) != b'{'
            && masker.at(value.start) != b'['
            && !is_reference(masker.get(value), kind, false)
        {
            masker.mask(value);
        }
        from = value.end.max(from);
    }
}

/// Returns the offset after `-----BEGIN … PRIVATE KEY-----`.
pub(super) fn after_pem_begin(text: &[u8]) -> Option<usize> {
    let mark = b"KEY-----";
    let starts = |&at: &usize| text.get(at..).is_some_and(|rest| rest.starts_with(mark));
    let at = memchr::memchr_iter(b'K', text).find(starts)?;
    let private = at == 0
        || text
            .get(..at)
            .is_some_and(|kind| kind.ends_with(b"PRIVATE "));
    private.then_some(at + mark.len())
}

/// Returns the key that ends before `equals`: `a.b[c]=`, `"a"=`, `a:=`.
fn key_before(masker: &Masker<'_>, start: usize, equals: usize) -> Span {
    let mut end = equals;
    while end > start
        && end + 3 > equals
        && matches!(
            masker.at(end - 1),
            b':' | b'+' | b'?' | b'"' | b'\'' | b']' | b'\\'
        )
    {
        end -= 1;
    }
    let floor = start.max(end.saturating_sub(MAX_KEY));
    masker.run_back(Span::new(floor, end), is_key_byte)
}

/// Returns whether the quote before `inside` closes one that was opened before `key`.
fn closes(masker: &Masker<'_>, word: Span, key: Span, inside: Span) -> bool {
    let floor = word.start.max(key.start.saturating_sub(MAX_KEY));
    let mark = masker.at(inside.start.saturating_sub(1));
    let before = masker.get(Span::new(floor, key.start));
    memchr::memchr_iter(mark, before).count() % 2 == 1
}

/// Returns the name before the colon of a JSON member, and whether it is in quotes.
fn member_before(masker: &Masker<'_>, start: usize, colon: usize) -> Option<(Span, bool)> {
    let floor = start.max(colon.saturating_sub(MAX_KEY));
    let before = Span::new(floor, colon);
    let blank = masker.run_back(before, |byte| byte.is_ascii_whitespace());
    let mark = Span::new(floor, blank.start);
    if !matches!(masker.get(mark).last(), Some(b'"' | b'\'')) {
        let key = masker.run_back(before, is_key_byte);
        return (!key.is_empty()).then_some((key, false));
    }
    let escapes = masker.run_back(Span::new(floor, mark.end - 1), |byte| byte == b'\\');
    let key = masker.run_back(Span::new(floor, escapes.start), is_key_byte);
    (!key.is_empty()).then_some((key, true))
}

fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Returns the value at the start of `rest`: the inside of its quotes, or up to the next field.
fn value_after(masker: &Masker<'_>, rest: Span, query: bool) -> Span {
    if let Some(inside) = quoted(masker, rest) {
        return inside;
    }
    let text = masker.up_to(rest.end).get(rest.start..).unwrap_or_default();
    let ends = |at: usize| {
        let after = text.get(at + 1..).unwrap_or_default();
        match text.get(at) {
            Some(b'&' | b'#') if query => true,
            Some(b',' | b';' | b'&' | b' ' | b'\n') => {
                let after = after.get(..MAX_NEXT_KEY).unwrap_or(after);
                let len = after
                    .iter()
                    .take_while(|&&byte| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte))
                    .count();
                len > 0 && after.get(len) == Some(&b'=')
            }
            _ => false,
        }
    };
    let len = (0..text.len()).find(|&at| ends(at)).unwrap_or(text.len());
    step(len);
    Span::new(rest.start, rest.start + len)
}

/// Returns the inside of the quoted part at the start of `rest`.
pub(super) fn quoted(masker: &Masker<'_>, rest: Span) -> Option<Span> {
    let bytes = masker.up_to(rest.end);
    let quote = Quote::read(bytes, rest.start, rest.end)?;
    let inside = rest.start + quote.len();
    let end = quote.close(bytes, inside, rest.end)?;
    Some(Span::new(inside, end - quote.len()))
}

fn is_any(word: &[u8], list: &[&str]) -> bool {
    list.iter()
        .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{Header, header};

    #[test]
    fn a_header_keeps_its_name_and_scheme() {
        assert_eq!(
            header(b"Authorization: Bearer abc", &[], true),
            Some(Header::Value(22))
        );
        assert_eq!(
            header(b"X-Vault-Token:abc", &[], false),
            Some(Header::Value(14))
        );
        assert_eq!(
            header(b"Authorization: Bearer", &[], true),
            Some(Header::Cut)
        );
    }

    #[test]
    fn a_sentence_is_no_header() {
        assert_eq!(header(b"token: fix the refresh", &[], false), None);
        assert_eq!(header(b"Content-Type: text/plain", &[], true), None);
    }
}
