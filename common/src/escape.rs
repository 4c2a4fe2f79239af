//! Escaping of text from others before a terminal or a log shows it.
//!
//! A server, a file or the user of a session may have chosen the text. It must not move the cursor, change
//! colours, begin another line, reorder or hide text, or make two different values look the same. So every
//! character that is not plainly visible is escaped.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

use unicode_width::UnicodeWidthChar;

/// Returns text on one line, with invisible characters escaped. Text that is already escaped does not change.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_visible, |_| None)
}

/// As [`visible`], but tabs and ends of lines become spaces: for a message that only others wrote.
pub fn one_line(text: &str) -> String {
    visible(&text.replace(['\n', '\t', '\r'], " ")).into_owned()
}

/// Returns text in which each character that is not plain is replaced: by its sign, or else by its escape.
pub fn escaped(
    text: &str,
    is_plain: impl Fn(char) -> bool,
    sign: impl Fn(char) -> Option<&'static str>,
) -> Cow<'_, str> {
    if text.chars().all(&is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match (is_plain(c), sign(c)) {
            (true, _) => out.push(c),
            (false, Some(sign)) => out.push_str(sign),
            (false, None) => escape_char(c, &mut out),
        }
    }
    Cow::Owned(out)
}

/// Writes bytes as text: each character by `write`, and each byte that is not UTF-8 as `\xNN`. Returns the
/// number of these bytes.
pub fn escape_bytes(
    bytes: &[u8],
    out: &mut String,
    mut write: impl FnMut(char, &mut String),
) -> usize {
    let mut invalid = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            write(c, out);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
            invalid += 1;
        }
    }
    invalid
}

/// Writes `\n`, `\r` or `\t`, `\xNN` for another byte of ASCII, or `\uNNNN` or `\UNNNNNNNN`, always with all
/// digits: bash reads as many as it can, so a following digit would become a part of it.
pub fn escape_char(c: char, out: &mut String) {
    let code = u32::from(c);
    let _ = match c {
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        '\0'..='\x7f' => write!(out, "\\x{code:02x}"),
        '\u{80}'..='\u{ffff}' => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Returns whether `c` is plainly visible. Not visible: controls (C0, DEL, C1), line separators, bidi
/// controls, zero-width characters, marks that change the previous character, and blanks other than the
/// space.
pub fn is_visible(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if LOOKS_LIKE_NOTHING.iter().any(|range| range.contains(&c)) => false,
        c => !c.is_control() && !c.is_whitespace() && c.width().is_some_and(|width| width > 0),
    }
}

/// Characters that are not visible although `char` or a width table treats them as visible, in this or
/// another version of Unicode.
const LOOKS_LIKE_NOTHING: [RangeInclusive<char>; 14] = [
    // Soft hyphen, Arabic letter mark.
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    // Hangul fillers and the empty braille pattern: blank letters.
    '\u{115f}'..='\u{1160}',
    '\u{3164}'..='\u{3164}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{2800}'..='\u{2800}',
    // Mongolian vowel separator.
    '\u{180e}'..='\u{180e}',
    // Zero width, bidi marks; line separators and bidi embeddings; invisible operators, isolates.
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
    // Private use: fonts differ. Tags and variation selectors come first.
    '\u{e000}'..='\u{f8ff}',
    '\u{e0000}'..='\u{10ffff}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_escaped() {
        assert_eq!(visible("a\u{1b}[2J\0\u{7f}"), r"a\x1b[2J\x00\x7f");
        assert_eq!(
            visible("\u{9b}31m\u{202e}\u{2066}"),
            r"\u009b31m\u202e\u2066"
        );
        assert_eq!(
            visible("a\u{200b}\u{a0}\u{e0041}"),
            r"a\u200b\u00a0\U000e0041"
        );
        assert_eq!(visible("a\r\n\tb"), r"a\r\n\tb");
    }

    #[test]
    fn visible_text_does_not_change() {
        let text = r#"grün 日本 `x` "it's" \x1b"#;
        assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        let escaped = visible("\u{1b}\n").into_owned();
        assert_eq!(visible(&escaped), escaped);
    }

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(one_line("a\r\nb\tc\u{1b}"), r"a  b c\x1b");
    }
}
