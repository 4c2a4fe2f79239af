//! The collector's status as OpenMetrics: over a loopback or Unix socket, or as a text file.
//!
//! Off by default. A scrape asks the pipeline for one
//! [`CollectorStatus`](vctl_common::status::CollectorStatus). The file is written with the
//! housekeeping, for which the agent wakes up anyway.

mod listen;
mod text;

use std::io;
use std::path::Path;

use tokio::sync::{mpsc, oneshot};
use vctl_common::atomic_file::{Durability, NewFile, Unfinished};
use vctl_common::status::CollectorStatus;

pub use listen::{Listen, Listener};
pub use text::render;

/// A scrape that waits for the status.
pub type Scrape = oneshot::Sender<CollectorStatus>;

/// Most scrapes that may wait for the loop.
const SCRAPES: usize = 4;

/// Returns the two ends between listener and loop.
pub fn channel() -> (mpsc::Sender<Scrape>, mpsc::Receiver<Scrape>) {
    mpsc::channel(SCRAPES)
}

/// Writes the status to `path` for the textfile collector of node_exporter. The file is replaced as
/// a whole, and every user with access to its directory can read it.
pub fn write_textfile(path: &Path, status: &CollectorStatus) -> io::Result<()> {
    let new = NewFile {
        mode: Some(0o644),
        // It is written every few seconds. Its unfinished name does not end in `.prom`, so it is not read.
        ..NewFile::private(Durability::Unsynced, Unfinished::OneName)
    };
    new.replace(path, |out| out.write_all(render(status).as_bytes()))
}
