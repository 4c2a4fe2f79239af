//! Escaping of recorded text for an answer to a model.
//!
//! Hosts and their users chose this text. A reviewer must see all of what the model sees, so characters that a terminal
//! hides or obeys are escaped: controls, bidi controls, characters without width.

use std::fmt::Write as _;

use serde_json::Value;
use vctl_common::escape::{escape_bytes, escape_char, is_visible};

/// Maximum number of characters of one recorded text in an answer.
const LONGEST: usize = 4096;

/// Returns text on one line, escaped and cut to a maximum length.
pub(super) fn line(text: impl AsRef<[u8]>) -> String {
    let mut escaped = String::new();
    escape(text.as_ref(), false, &mut escaped);
    match escaped.char_indices().nth(LONGEST) {
        None => escaped,
        Some((at, _)) => {
            let left_out = escaped.len() - at;
            escaped.truncate(at);
            let _ = write!(escaped, "… [{left_out} more bytes]");
            escaped
        }
    }
}

/// Returns text that keeps its newlines and tabs, and the number of bytes that are not UTF-8; those become `\xNN`.
pub(super) fn block(bytes: &[u8]) -> (String, usize) {
    let mut text = String::with_capacity(bytes.len());
    let invalid = escape(bytes, true, &mut text);
    (text, invalid)
}

/// Escapes all texts of a JSON value, keys included.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(line(text)),
        Value::Array(all) => all.into_iter().map(self::value).collect(),
        Value::Object(all) => {
            let all = all.into_iter();
            all.map(|(key, one)| (line(key), self::value(one)))
                .collect()
        }
        other => other,
    }
}

fn escape(bytes: &[u8], is_block: bool, out: &mut String) -> usize {
    escape_bytes(bytes, out, |c, out| match c {
        '\n' | '\t' if is_block => out.push(c),
        c if is_visible(c) => out.push(c),
        c => escape_char(c, out),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hidden_characters_are_escaped() {
        assert_eq!(line("web\u{1b}[2J\u{202e}\n"), "web\\x1b[2J\\u202e\\n");
        assert_eq!(line("größe 日本"), "größe 日本");
        assert_eq!(block(b"a\tb\nc\r\x1b"), ("a\tb\nc\\r\\x1b".to_owned(), 0));
    }

    #[test]
    fn bytes_that_are_not_text_are_counted() {
        assert_eq!(
            block(b"\xff\xfeok\xc3"),
            ("\\xff\\xfeok\\xc3".to_owned(), 3)
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let cut = line("é".repeat(LONGEST + 2));
        assert!(cut.ends_with("é… [4 more bytes]"), "{cut}");
    }

    #[test]
    fn every_text_of_a_document_is_escaped() {
        let wild = json!({"a\u{7}": ["\u{9b}", 1, null, {"b": "c\u{200b}"}]});
        let tame = json!({"a\\x07": ["\\u009b", 1, null, {"b": "c\\u200b"}]});
        assert_eq!(value(wild), tame);
    }
}
