//! Standard error, also if it is non-blocking or the terminal is in raw mode.
//!
//! In raw mode, this process serves a connection, and Ctrl-S may stop the terminal. A thread then writes the
//! lines, so that the connection does not stop.

use std::io::{self, IsTerminal as _, LineWriter, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use anstream::AutoStream;
use vctl_common::charset;

use crate::process::descriptor::Descriptor;

/// Whether the terminal is in raw mode, where a newline does not return to the left margin.
static IS_RAW: AtomicBool = AtomicBool::new(false);

/// Maximum number of lines that wait for a stopped terminal. Further lines are lost.
const MOST: usize = 64;

/// Maximum wait for unwritten lines at the end of raw mode.
const FAREWELL: Duration = Duration::from_millis(100);

/// Sets whether the terminal is in raw mode.
pub(crate) fn set_raw(is_raw: bool) {
    IS_RAW.store(is_raw, Ordering::Relaxed);
    if let (false, Some(writer)) = (is_raw, WRITER.get()) {
        let (tell, written) = channel();
        if writer.try_send(Queued::Mark(tell)).is_ok() {
            let _ = written.recv_timeout(FAREWELL);
        }
    }
}

enum Queued {
    Text(Vec<u8>),
    /// Dropped when the lines before it are written.
    Mark(std::sync::mpsc::Sender<()>),
}

static WRITER: OnceLock<SyncSender<Queued>> = OnceLock::new();

/// Writer that passes lines to the thread.
struct Deferred;

impl Write for Deferred {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let writer = WRITER.get_or_init(|| {
            let (sender, receiver) = sync_channel(MOST);
            // The thread ends with the process.
            thread::spawn(move || write_each(&receiver));
            sender
        });
        let _ = writer.try_send(Queued::Text(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_each(queue: &Receiver<Queued>) {
    for queued in queue {
        match queued {
            Queued::Text(text) => {
                let _ = Descriptor::stderr().and_then(|mut stderr| stderr.write_all(&text));
            }
            Queued::Mark(tell) => drop(tell),
        }
    }
}

/// Returns standard error for one message; strips unwanted colours.
pub(crate) fn stderr() -> AutoStream<Box<dyn Write>> {
    let stderr = io::stderr();
    let choice = AutoStream::choice(&stderr);
    let is_raw = IS_RAW.load(Ordering::Relaxed) && stderr.is_terminal();
    if is_raw {
        let out: Box<dyn Write> = Box::new(LineWriter::new(AtMargin::new(Deferred)));
        return AutoStream::new(in_locale(out), choice);
    }
    let out: Box<dyn Write> = match Descriptor::stderr() {
        Ok(out) => Box::new(LineWriter::new(out)),
        // Fails only if no descriptor is free.
        Err(_) => Box::new(stderr),
    };
    AutoStream::new(in_locale(out), choice)
}

fn in_locale(out: Box<dyn Write>) -> Box<dyn Write> {
    if charset::locale_is_ascii() {
        Box::new(Ascii { out })
    } else {
        out
    }
}

/// Writer that replaces non-ASCII characters. Each part has complete characters: it is a `str` of `write!`.
struct Ascii {
    out: Box<dyn Write>,
}

impl Write for Ascii {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.out.write_all(charset::ascii(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writer that begins each line at the left margin of a raw terminal.
struct AtMargin<W> {
    out: W,
    has_begun: bool,
}

impl<W> AtMargin<W> {
    fn new(out: W) -> Self {
        Self {
            out,
            has_begun: false,
        }
    }
}

impl<W: Write> Write for AtMargin<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = Vec::with_capacity(bytes.len() + 8);
        // The cursor may be anywhere in a line.
        if !std::mem::replace(&mut self.has_begun, true) {
            line.extend_from_slice(b"\r\n");
        }
        for &byte in bytes {
            if byte == b'\n' {
                line.push(b'\r');
            }
            line.push(byte);
        }
        self.out.write_all(&line)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_begins_at_the_margin() {
        let mut written = Vec::new();
        let mut out = AtMargin::new(&mut written);
        out.write_all(b"note: one\n").unwrap();
        out.write_all(b"two\nthree\n").unwrap();
        assert_eq!(written, b"\r\nnote: one\r\ntwo\r\nthree\r\n");
    }
}
