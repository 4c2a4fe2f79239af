//! Where an export sends its events.

use std::io::{self, Write as _};

use nix::sys::stat::{SFlag, fstat};
use nix::unistd::fdatasync;

use super::ecs::Record;
use super::otlp::Receiver;
use crate::error::Stop;
use crate::ui::{Screen, json};

/// A receiver of records.
pub(crate) enum Sink {
    /// One JSON object a line, on standard output.
    Lines(Screen),
    /// OpenTelemetry logs.
    Otlp(Receiver),
}

impl Sink {
    /// Sends the records. When this function returns, the receiver has them.
    pub(crate) async fn send(&mut self, records: &[Record]) -> Result<(), Stop> {
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

/// Waits until the disk has the lines, if standard output is a file: the checkpoint must not be ahead of it.
fn sync_file() -> io::Result<()> {
    let stdout = io::stdout();
    let is_file = fstat(&stdout).is_ok_and(|stat| {
        SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
    });
    if is_file {
        fdatasync(&stdout)?;
    }
    Ok(())
}
