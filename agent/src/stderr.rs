//! Text for stderr, which may be a terminal: errors repeat text from servers, files and callers.

use std::io::{self, Write};

use vctl_common::{charset, escape};

/// Returns text on one line, in which every character is visible in the locale.
pub fn visible(text: &str) -> String {
    let text = escape::visible(text);
    if charset::locale_is_ascii() {
        charset::ascii(&text).into_owned()
    } else {
        text.into_owned()
    }
}

/// Writer of the log, which writes each line whole.
pub struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        writeln!(io::stderr().lock(), "{}", visible(text))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_visible_and_ours_stays_as_it_is() {
        let ours = r#"cannot read `/etc/x`: it's "grün" \x1b"#;
        assert_eq!(visible(ours), ours);
        let hostile = "a\u{1b}[2J\u{202e}\u{9b}\u{200b}\u{2066}\r\nb\u{7f}";
        let shown = visible(hostile);
        assert!(shown.is_ascii(), "{shown}");
        assert!(!shown.contains(|c: char| c.is_control()), "{shown:?}");
    }
}
