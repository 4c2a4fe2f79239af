//! Escaping of recorded text for a terminal, by the rules of [`vctl_common::escape`].
//!
//! The user of a recorded session chose these bytes. Each output can be converted back to exactly one input.
//! Commands are quoted for bash.

use std::borrow::Cow;
use std::str;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr as _};
use vctl_common::charset;
pub(crate) use vctl_common::escape::is_visible;
use vctl_common::escape::{escape_bytes, escape_char, escaped};

/// Returns text (a name, a path) on one line, escaped. A backslash is doubled.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
    let mut out = String::with_capacity(bytes.len());
    escape(bytes, Quote::None, &mut out);
    out
}

/// Returns text on one line, with invisible characters escaped. A backslash is not doubled.
///
/// For composed messages: text that is already escaped does not change.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_plain, charset::sign)
}

/// Returns argv quoted for bash, one word for each item.
pub(crate) fn command<I>(argv: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    let mut out = String::new();
    for (index, item) in argv.into_iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        quote(item.as_ref(), &mut out);
    }
    out
}

/// Returns whether `c` is plainly visible, see [`is_visible`]. In an ASCII locale only ASCII is plain.
pub(crate) fn is_plain(c: char) -> bool {
    is_visible(c) && (c.is_ascii() || !charset::is_ascii())
}

/// Cuts `text` to `columns` of a terminal. A cut text ends with `…`.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let ellipsis = charset::shown("…");
    let mut used = 0;
    let mut end_with_ellipsis = 0;
    for (index, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            let mut cut = text.get(..end_with_ellipsis).unwrap_or_default().to_owned();
            if columns >= ellipsis.width() {
                cut.push_str(&ellipsis);
            }
            return cut;
        }
        if used + ellipsis.width() <= columns {
            end_with_ellipsis = index + c.len_utf8();
        }
    }
    text.to_owned()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    /// Escapes a byte sequence inside `$'...'`.
    AnsiC,
}

fn quote(item: &[u8], out: &mut String) {
    let bare = |b: &u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(b);
    if !item.is_empty() && item.iter().all(bare) {
        out.extend(item.iter().map(|&b| char::from(b)));
        return;
    }
    match str::from_utf8(item) {
        Ok(plain) if plain.chars().all(|c| is_plain(c) && c != '\'') => {
            out.push('\'');
            out.push_str(plain);
            out.push('\'');
        }
        _ => {
            out.push_str("$'");
            escape(item, Quote::AnsiC, out);
            out.push('\'');
        }
    }
}

fn escape(bytes: &[u8], quote: Quote, out: &mut String) {
    escape_bytes(bytes, out, |c, out| match c {
        '\\' => out.push_str("\\\\"),
        '\'' if quote == Quote::AnsiC => out.push_str("\\'"),
        c if is_plain(c) => out.push(c),
        c => escape_char(c, out),
    });
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_commands_stay_as_they_were_typed() {
        let ls = ["ls", "-la", "--color=auto", "/etc/ssh/sshd_config.d"];
        assert_eq!(command(ls), "ls -la --color=auto /etc/ssh/sshd_config.d");
        assert_eq!(command(["echo", "grüß dich"]), "echo 'grüß dich'");
    }

    #[test]
    fn the_borders_between_arguments_are_visible() {
        assert_eq!(command(["rm", "a b", "", "c"]), "rm 'a b' '' c");
        assert_eq!(command(["sh", "-c", "it's"]), r"sh -c $'it\'s'");
        assert_ne!(command(["a", "b"]), command(["a b"]));
        assert_eq!(command(Vec::<&[u8]>::new()), "");
    }

    #[test]
    fn invisible_characters_are_escaped() {
        assert_eq!(command(["\x1b[2J"]), r"$'\x1b[2J'");
        assert_eq!(command(["a\u{202e}b"]), r"$'a\u202eb'");
        assert_eq!(command([b"\xff\xfe"]), r"$'\xff\xfe'");
        assert_eq!(text("web\r\n1"), r"web\r\n1");
        assert_eq!(text(r"a\x1b"), r"a\\x1b");
        assert_eq!(text("a\u{9b}31m"), r"a\u009b31m");
        assert_eq!(text("nbsp\u{a0}\u{3164}"), r"nbsp\u00a0\u3164");
        assert_eq!(text("\u{e0041}"), r"\U000e0041");
    }

    #[test]
    fn combining_marks_are_escaped() {
        assert_eq!(text("e\u{301}"), r"e\u0301");
    }

    #[test]
    fn text_is_cut_by_columns_not_by_bytes() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("日本語", 6), "日本語");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("abc", 0), "");
    }

    /// Text as an attacker would choose it: escapes, quotes, bad UTF-8, look-alikes.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            any::<u8>().prop_map(|b| vec![b]),
            prop::sample::select(vec![
                "\\", "'", "$'", "\\x1b", "\\u202e", "\u{202e}", "\u{2066}", "\u{200d}", "\x1b[0m",
                "\u{9b}", "\n", " ", "''", "\u{85}", "0", "a", "\u{301}", "\u{fe0f}",
            ])
            .prop_map(|s| s.as_bytes().to_vec()),
        ];
        vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn is_bidi_control(c: char) -> bool {
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    }

    fn assert_harmless(shown: &str) {
        for c in shown.chars() {
            assert!(!c.is_control() && !is_bidi_control(c), "{shown:?}");
            assert!(c.width().is_some_and(|width| width > 0), "{shown:?}");
        }
    }

    proptest! {
        #[test]
        fn no_control_and_no_bidi_control_gets_through(items in vec(hostile(), 0..5)) {
            assert_harmless(&command(&items));
            for item in &items {
                assert_harmless(&text(item));
            }
        }

        #[test]
        fn visible_text_does_not_change(bytes in hostile()) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let shown = visible(&text).into_owned();
            assert_harmless(&shown);
            prop_assert_eq!(visible(&shown), shown.as_str());
        }

        #[test]
        fn every_command_can_be_read_back(items in vec(hostile(), 0..5)) {
            prop_assert_eq!(read_command(&command(&items)), items);
        }

        #[test]
        fn every_text_can_be_read_back(bytes in hostile()) {
            let shown = text(&bytes);
            let mut rest = shown.as_str();
            prop_assert_eq!(unescape(&mut rest, None), bytes);
        }

        #[test]
        fn cut_text_fits(bytes in hostile(), columns in 0_usize..20) {
            let cut = fit(&text(bytes), columns);
            prop_assert!(unicode_width::UnicodeWidthStr::width(cut.as_str()) <= columns);
        }
    }

    /// A parser of bash words, written after bash(1), independent of the code above.
    fn read_command(mut rest: &str) -> Vec<Vec<u8>> {
        let mut items = Vec::new();
        while !rest.is_empty() {
            if let Some(quoted) = rest.strip_prefix("$'") {
                rest = quoted;
                items.push(unescape(&mut rest, Some('\'')));
            } else if let Some(quoted) = rest.strip_prefix('\'') {
                let (item, after) = quoted.split_once('\'').unwrap();
                items.push(item.as_bytes().to_vec());
                rest = after;
            } else {
                let end = rest.find(' ').unwrap_or(rest.len());
                items.push(rest.as_bytes()[..end].to_vec());
                rest = &rest[end..];
            }
            rest = rest.strip_prefix(' ').unwrap_or(rest);
        }
        items
    }

    fn unescape(rest: &mut &str, end: Option<char>) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let mut chars = rest.chars();
            let Some(c) = chars.next() else { return out };
            *rest = chars.as_str();
            if Some(c) == end {
                return out;
            }
            if c != '\\' {
                out.extend(c.to_string().bytes());
                continue;
            }
            let kind = chars.next().unwrap();
            *rest = chars.as_str();
            let mut digits = |count: usize| {
                let (number, after) = rest.split_at(count);
                *rest = after;
                u32::from_str_radix(number, 16).unwrap()
            };
            let code = match kind {
                'x' => {
                    out.push(u8::try_from(digits(2)).unwrap());
                    continue;
                }
                'u' => digits(4),
                'U' => digits(8),
                'n' => u32::from('\n'),
                'r' => u32::from('\r'),
                't' => u32::from('\t'),
                other => u32::from(other),
            };
            out.extend(char::from_u32(code).unwrap().to_string().bytes());
        }
    }
}
