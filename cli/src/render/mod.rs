//! What is read, as text. The only module that writes to stdout.
//!
//! Renderers write to any `io::Write` and decide nothing about the terminal: [`Screen`] strips
//! colours where they are not wanted and knows the width. Every recorded text goes through
//! [`sanitize`].

pub(crate) mod detail;
pub(crate) mod header;
#[cfg(test)]
mod hostile;
pub(crate) mod json;
pub(crate) mod line;
pub(crate) mod live;
pub(crate) mod notice;
pub(crate) mod sanitize;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod timeline;
pub(crate) mod tree;

use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice, StripStream};
use anstyle::{AnsiColor, Style};

pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();

/// How much is shown, and where it must fit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    /// Columns of the terminal; `None` for a pipe or file, where nothing is cut.
    pub(crate) width: Option<usize>,
    /// Every field, every process.
    pub(crate) full: bool,
}

/// Standard output.
pub(crate) struct Screen {
    out: Box<dyn Write>,
    is_terminal: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout().lock();
        let is_terminal = stdout.is_terminal();
        let choice = AutoStream::choice(&stdout);
        // `AutoStream` itself would write to stdout line by line, and between them colour by
        // colour: a thousand system calls where ten do.
        let buffered: Box<dyn Write> = Box::new(BufWriter::with_capacity(64 * 1024, stdout));
        let out = match choice {
            ColorChoice::Never => Box::new(StripStream::new(buffered)),
            _ => buffered,
        };
        Self { out, is_terminal }
    }

    pub(crate) fn layout(&self, full: bool) -> Layout {
        let width = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Layout {
            width: (self.is_terminal && !full).then(width).flatten(),
            full,
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
