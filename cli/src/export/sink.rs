//! Where an export sends its events.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use nix::sys::stat::{SFlag, fstat};
use nix::unistd::fdatasync;

use super::ecs::Record;
use super::otlp::Receiver;
use crate::error::Stop;
use crate::ui::{Screen, json};

/// A receiver of what a feed reads.
pub(crate) trait Sink<T> {
    /// Sends the items. When this function returns, the receiver has them.
    async fn send(&mut self, items: &[T]) -> Result<(), Stop>;
}

/// The receivers of an export.
pub(crate) enum ExportSink {
    /// One JSON object a line, on standard output.
    Lines(Screen),
    /// OpenTelemetry logs.
    Otlp(Receiver),
}

impl Sink<Record> for ExportSink {
    async fn send(&mut self, records: &[Record]) -> Result<(), Stop> {
        match self {
            Self::Lines(screen) => {
                for record in records {
                    json::write_as_line(screen, &record.document)?;
                }
                screen.flush()?;
                Ok(sync_file()?)
            }
            Self::Otlp(receiver) => receiver.send(records).await,
        }
    }
}

impl ExportSink {
    /// Returns standard output. Ends a half line there, which an export that was killed left in the file.
    pub(crate) fn lines() -> Result<Self, Stop> {
        let mut screen = Screen::for_programs();
        if is_regular_file() && !ends_with_line() {
            screen.write_all(b"\n")?;
        }
        Ok(Self::Lines(screen))
    }
}

fn is_regular_file() -> bool {
    fstat(io::stdout())
        .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG)
}

/// Returns whether the file of standard output is empty or ends with a newline; `false` if it cannot be read.
fn ends_with_line() -> bool {
    let last = || -> io::Result<Option<u8>> {
        // Standard output itself is not opened for reading.
        let mut file = File::open("/dev/fd/1")?;
        if file.metadata()?.len() == 0 {
            return Ok(None);
        }
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(Some(last[0]))
    };
    matches!(last(), Ok(None | Some(b'\n')))
}

/// Waits until the disk has the lines, if standard output is a file: the checkpoint must not be ahead of it.
fn sync_file() -> io::Result<()> {
    if is_regular_file() {
        fdatasync(io::stdout())?;
    }
    Ok(())
}
