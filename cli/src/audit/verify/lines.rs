//! Lines of a log, with a limit of their length.

use std::io::{self, BufRead, Read as _};

/// Maximum length of a line. Vault accepts requests of 32 MiB, and the log has hashes of most values.
const MOST: u64 = 64 << 20;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Text {
        bytes: &'a [u8],
        /// The input ended before a newline.
        is_last_without_newline: bool,
    },
    /// The line is longer than the limit, and was skipped.
    TooLong,
}

/// Reader of lines.
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    most: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            most: MOST,
        }
    }

    /// Returns the next line without its newline; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read or decompressed any further.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut limited = (&mut self.input).take(self.most);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        let has_newline = self.line.last() == Some(&b'\n');
        if !has_newline && self.line.len() as u64 == self.most {
            self.skip_rest()?;
            return Ok(Some(Line::TooLong));
        }
        let bytes = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(Line::Text {
            bytes: bytes.strip_suffix(b"\r").unwrap_or(bytes),
            is_last_without_newline: !has_newline,
        }))
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.input).take(1 << 20);
            let read = limited.read_until(b'\n', &mut self.line)?;
            if read == 0 || self.line.last() == Some(&b'\n') {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_a_limit() {
        let mut lines = Lines::new(&b"one\r\n\n12345678901234567890\nlast"[..]);
        lines.most = 10;
        let text = |bytes, last| Line::Text {
            bytes,
            is_last_without_newline: last,
        };
        assert_eq!(lines.next().unwrap(), Some(text(b"one", false)));
        assert_eq!(lines.next().unwrap(), Some(text(b"", false)));
        assert_eq!(lines.next().unwrap(), Some(Line::TooLong));
        assert_eq!(lines.next().unwrap(), Some(text(b"last", true)));
        assert_eq!(lines.next().unwrap(), None);
    }
}
