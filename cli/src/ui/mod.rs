//! Output to the terminal: text, tables, JSON and prompts. No other module writes to stdout.
//!
//! Renderers write to any `io::Write` and do not look at the terminal: [`Screen`] knows its width, and
//! strips colours if they are not wanted. Recorded text goes through [`sanitize`]; [`guard`] escapes what a
//! renderer has forgotten.

pub(crate) mod columns;
pub(crate) mod csv;
pub(crate) mod format;
mod guard;
pub(crate) mod help;
pub(crate) mod json;
pub(crate) mod list_limit;
pub(crate) mod notice;
pub(crate) mod paragraph;
pub(crate) mod records;
pub(crate) mod sanitize;
pub(crate) mod size;
pub(crate) mod stderr;
pub(crate) mod time;
pub(crate) mod wrap;
pub(crate) mod ask;
pub(crate) mod logging;
pub(crate) mod moment;
pub(crate) mod timing;
pub(crate) mod waiting;

use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice, StripStream};
use anstyle::{AnsiColor, Style};
use tracing::Span;
use vctl_common::charset;
use vctl_common::spans;

use self::guard::Guard;
use crate::process::descriptor::Descriptor;
use crate::ui::format::OutputFormat;

pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();

/// The amount of detail, and the available width.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    /// Columns of the terminal; `None` for a pipe or file, where no line is cut.
    pub(crate) width: Option<usize>,
    /// Whether to show every field and every process.
    pub(crate) full: bool,
}

/// Standard output.
pub(crate) struct Screen {
    out: Box<dyn Write>,
    is_terminal: bool,
    /// Measures the time of writing, for `--debug-timing`.
    writing: Option<Span>,
}

impl Screen {
    /// Returns a screen for people: strips unwanted colours, and escapes control characters.
    pub(crate) fn for_people() -> Self {
        let choice = AutoStream::choice(&io::stdout());
        Self::new(match choice {
            // Buffered twice: each call of the stripping costs time, and `AutoStream` itself would make a system
            // call for every part between two colours.
            ColorChoice::Never => |out| {
                let guarded: Box<dyn Write> = Box::new(Guard::new(out));
                Box::new(buffered(StripStream::new(guarded)))
            },
            _ => |out| Box::new(buffered(Guard::new(out))),
        })
    }

    /// Returns the screen for a format.
    pub(crate) fn for_format(format: OutputFormat) -> Self {
        if format.is_for_people() {
            Self::for_people()
        } else {
            Self::for_programs()
        }
    }

    /// Returns a screen for programs: no colours, and UTF-8 in every locale.
    pub(crate) fn for_programs() -> Self {
        charset::write_for_programs();
        Self::new(|out| out)
    }

    fn new(wrap: fn(Box<dyn Write>) -> Box<dyn Write>) -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            out: wrap(Box::new(buffered(stdout()))),
            writing: None,
        }
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
        self.writing.get_or_insert_with(spans::render);
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.writing = None;
        flushed
    }
}

/// Standard output, which another program may have set non-blocking.
pub(crate) fn stdout() -> Box<dyn Write> {
    match Descriptor::stdout() {
        Ok(stdout) => Box::new(stdout),
        // Fails only if no descriptor is free.
        Err(_) => Box::new(io::stdout()),
    }
}

fn buffered<W: Write>(out: W) -> BufWriter<W> {
    BufWriter::with_capacity(64 * 1024, out)
}
