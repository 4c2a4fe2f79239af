//! Text beside a label, broken between words so that it stays beside it.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::sanitize;

/// Below this much room breaking lines makes nothing easier to read.
const NARROWEST: usize = 16;

/// Writes `text` after something `indent` columns wide that stands on the line already. What may be
/// somebody else's words is made harmless.
pub(crate) fn write(
    out: &mut dyn Write,
    indent: usize,
    text: &str,
    style: Style,
    width: Option<usize>,
) -> io::Result<()> {
    let text = sanitize::text(text);
    let room = width.map_or(usize::MAX, |width| room(width, indent));
    for (index, line) in lines(&text, room).iter().enumerate() {
        if index > 0 {
            write!(out, "{:indent$}", "")?;
        }
        writeln!(out, "{style}{line}{style:#}")?;
    }
    Ok(())
}

/// Returns the columns behind `indent`.
pub(crate) fn room(width: usize, indent: usize) -> usize {
    width.saturating_sub(indent).max(NARROWEST)
}

/// Breaks between words; one that is wider than the room stands alone, and is left whole: it may have
/// to be copied.
pub(crate) fn lines(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.width().saturating_add(1 + word.width()) <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_never_in_one() {
        assert_eq!(lines("a bc def", 4), ["a bc", "def"]);
        assert_eq!(lines("SHA256:abcdef x", 4), ["SHA256:abcdef", "x"]);
        assert_eq!(lines("", 4), [""]);
        assert_eq!(lines("名前 b", 4), ["名前", "b"]);
    }

    #[test]
    fn what_a_server_says_cannot_write_to_the_terminal() {
        let mut out = Vec::new();
        write(&mut out, 2, "a\u{1b}[31m b", Style::new(), Some(80)).unwrap();
        assert!(!out.contains(&0x1b));
    }
}
