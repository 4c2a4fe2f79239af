//! Text after a label, wrapped at words and indented.
//!
//! The crate textwrap was considered. It cannot keep a fingerprint whole and still break a longer word, and
//! the break points inside of names come from [`super::wrap`].

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::sanitize;
use super::wrap::wrapped;

/// Minimum width of a line, also on a narrower terminal.
const NARROWEST: usize = 16;
/// Width of a fingerprint: `SHA256:` and 43 characters.
const FINGERPRINT: usize = 50;

/// Writes `text` after a label of `indent` columns, escaped.
pub(crate) fn write(
    out: &mut dyn Write,
    indent: usize,
    text: &str,
    style: Style,
    width: Option<usize>,
) -> io::Result<()> {
    let text = sanitize::text(text);
    write_lines(out, indent, &lines(&text, room_of(indent, width)), style)
}

/// Writes escaped text from the beginning of a line, and indents the following lines. The part before the
/// first colon gets the `style`.
pub(crate) fn write_beside(
    out: &mut dyn Write,
    indent: usize,
    text: &str,
    style: Style,
    width: Option<usize>,
) -> io::Result<()> {
    let mut lines = lines(text, room_of(indent, width));
    if let Some((label, rest)) = lines.first().and_then(|first| first.split_once(": ")) {
        lines[0] = format!("{style}{label}:{style:#} {rest}");
    }
    write_lines(out, indent, &lines, Style::new())
}

fn room_of(indent: usize, width: Option<usize>) -> usize {
    width.map_or(usize::MAX, |width| room(width, indent))
}

/// Returns the columns after `indent`.
pub(crate) fn room(width: usize, indent: usize) -> usize {
    width.saturating_sub(indent).max(NARROWEST)
}

fn write_lines(
    out: &mut dyn Write,
    indent: usize,
    lines: &[String],
    style: Style,
) -> io::Result<()> {
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            write!(out, "{:indent$}", "")?;
        }
        writeln!(out, "{style}{line}{style:#}")?;
    }
    Ok(())
}

/// Breaks text between words. A fingerprint that is wider than the room stays whole, because a user may
/// copy it; other long words are broken.
pub(crate) fn lines(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let words = text.split(' ').flat_map(|word| match word.width() {
        ..=FINGERPRINT => vec![word.to_owned()],
        width if width <= room => vec![word.to_owned()],
        _ => wrapped(word, room, usize::MAX),
    });
    for word in words {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(&word);
        } else if line.width().saturating_add(1 + word.width()) <= room {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_before_in_one() {
        assert_eq!(lines("a bc def", 4), ["a bc", "def"]);
        assert_eq!(lines("SHA256:abcdef x", 4), ["SHA256:abcdef", "x"]);
        assert_eq!(lines("", 4), [""]);
        assert_eq!(lines("名前 b", 4), ["名前", "b"]);
        let long = "x".repeat(60);
        assert_eq!(
            lines(&format!("a {long} b"), 40).concat(),
            format!("a{long} b")
        );
        assert!(lines(&long, 40).iter().all(|line| line.len() <= 40));
    }

    #[test]
    fn text_of_a_server_is_escaped() {
        let mut out = Vec::new();
        write(&mut out, 2, "a\u{1b}[31m b", Style::new(), Some(80)).unwrap();
        assert!(!out.contains(&0x1b));
    }
}
