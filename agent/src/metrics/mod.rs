//! The collector's numbers as OpenMetrics: over a loopback or Unix socket, or as a text file.
//!
//! Off by default, and then nothing of this runs. The pipeline is asked for one
//! [`CollectorStatus`](vctl_common::status::CollectorStatus) when somebody scrapes; the file is
//! written with housekeeping, which wakes up anyway.

mod listen;
mod text;

use std::io;
use std::path::Path;

use tokio::sync::{mpsc, oneshot};
use vctl_common::atomic_file::{Durability, NewFile, Unfinished};
use vctl_common::status::CollectorStatus;

pub use listen::{Listen, Listener};
pub use text::render;

/// A scrape that waits for the numbers.
pub type Scrape = oneshot::Sender<CollectorStatus>;

/// Scrapes that may wait for the loop.
const SCRAPES: usize = 4;

/// Returns the two ends between listener and loop.
pub fn channel() -> (mpsc::Sender<Scrape>, mpsc::Receiver<Scrape>) {
    mpsc::channel(SCRAPES)
}

/// Writes the numbers to `path`, as the textfile collector of node_exporter reads them: a whole file
/// or the one before, and readable by whoever may enter its directory.
pub fn write_textfile(path: &Path, status: &CollectorStatus) -> io::Result<()> {
    let new = NewFile {
        mode: Some(0o644),
        // It is written every few seconds. Its unfinished name does not end in `.prom`, so it is not read.
        ..NewFile::private(Durability::Unsynced, Unfinished::OneName)
    };
    new.replace(path, |out| out.write_all(render(status).as_bytes()))
}
