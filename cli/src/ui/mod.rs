//! What is read, as text. The only module that writes to stdout.
//!
//! Renderers write to any `io::Write` and decide nothing about the terminal: [`Screen`] strips
//! colours where they are not wanted and knows the width. Every recorded text goes through
//! [`sanitize`]; what a renderer forgot is spelled out by [`guard`].

pub(crate) mod columns;
pub(crate) mod csv;
pub(crate) mod form;
mod guard;
pub(crate) mod help;
pub(crate) mod json;
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

use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice, StripStream};
use anstyle::{AnsiColor, Style};
use tracing::Span;
use vctl_common::charset;
use vctl_common::spans;

use self::guard::Guard;
use crate::process::descriptor::Descriptor;
use crate::ui::form::Form;

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
    /// From the first piece of a page to its end.
    writing: Option<Span>,
}

impl Screen {
    /// For pages: colours are taken away where they are not wanted, and so is what acts on a terminal.
    pub(crate) fn for_people() -> Self {
        let choice = AutoStream::choice(&io::stdout());
        Self::new(match choice {
            // Buffered twice: stripping costs by the call, and `AutoStream` itself would call the
            // kernel for every piece between two colours.
            ColorChoice::Never => |out| {
                let guarded: Box<dyn Write> = Box::new(Guard::new(out));
                Box::new(buffered(StripStream::new(guarded)))
            },
            _ => |out| Box::new(buffered(Guard::new(out))),
        })
    }

    /// For the reader of that form.
    pub(crate) fn for_form(form: Form) -> Self {
        if form.is_for_people() {
            Self::for_people()
        } else {
            Self::for_programs()
        }
    }

    /// For JSON, which has no colours to take away, and is UTF-8 in every locale.
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

/// Standard output, also where another program made it non-blocking.
pub(crate) fn stdout() -> Box<dyn Write> {
    match Descriptor::stdout() {
        Ok(stdout) => Box::new(stdout),
        // Only for want of another descriptor.
        Err(_) => Box::new(io::stdout()),
    }
}

fn buffered<W: Write>(out: W) -> BufWriter<W> {
    BufWriter::with_capacity(64 * 1024, out)
}
