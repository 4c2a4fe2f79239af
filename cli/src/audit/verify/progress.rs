//! Progress of reading a large file, on stderr.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::ui::{notice, size};

/// Number of lines between two looks at the clock.
const LINES: u32 = 1024;
const ON_A_TERMINAL: Duration = Duration::from_millis(200);
/// A log of a job should not be full of progress.
const ELSEWHERE: Duration = Duration::from_secs(30);

/// The progress of one file. A small file shows nothing.
pub(super) struct Progress {
    name: String,
    size: Option<u64>,
    read: Arc<AtomicU64>,
    lines: u32,
    shown: Instant,
    is_terminal: bool,
    has_line: bool,
}

impl Progress {
    /// `read` is the number of bytes read so far, as the reader counts them.
    pub(super) fn new(name: &str, size: Option<u64>, read: Arc<AtomicU64>) -> Self {
        Self {
            name: name.to_owned(),
            size,
            read,
            lines: 0,
            shown: Instant::now(),
            is_terminal: io::stderr().is_terminal(),
            has_line: false,
        }
    }

    /// Counts a line.
    pub(super) fn step(&mut self) {
        self.lines += 1;
        if self.lines < LINES {
            return;
        }
        self.lines = 0;
        let interval = if self.is_terminal {
            ON_A_TERMINAL
        } else {
            ELSEWHERE
        };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let text = self.text();
        if self.is_terminal {
            self.has_line = true;
            notice::progress(&text);
        } else {
            notice::note(&text);
        }
    }

    /// Removes the progress line.
    pub(super) fn finish(&self) {
        if self.has_line {
            notice::progress("");
        }
    }

    fn text(&self) -> String {
        let read = self.read.load(Ordering::Relaxed);
        let done = size::bytes(read);
        match self.size {
            Some(all) if all > 0 => {
                let percent = read.saturating_mul(100) / all;
                format!(
                    "reading {}: {done} of {}, {percent} %",
                    self.name,
                    size::bytes(all)
                )
            }
            _ => format!("reading {}: {done}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_file_and_percentage() {
        let read = Arc::new(AtomicU64::new(512 << 20));
        let known = Progress::new("audit.log", Some(2 << 30), Arc::clone(&read));
        assert_eq!(known.text(), "reading audit.log: 512 MiB of 2.0 GiB, 25 %");
        let pipe = Progress::new("standard input", None, read);
        assert_eq!(pipe.text(), "reading standard input: 512 MiB");
    }
}
