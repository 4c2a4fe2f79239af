//! The progress line of a wait. Only a terminal shows it.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tokio::time::Instant;

use crate::ui::notice;

/// A wait, and whether its progress is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    begun: Instant,
    is_shown: bool,
}

impl Waiting {
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            is_shown: io::stderr().is_terminal(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Shows the reason for the wait, and how long it has lasted.
    pub(crate) fn show(&self, awaited: &str) {
        if self.is_shown {
            let waited = self.begun.elapsed().as_secs();
            notice::progress(&format!("waiting for {awaited} ... {waited}s"));
        }
    }

    /// Clears the line before another message, and at the end.
    pub(crate) fn clear(&self) {
        if self.is_shown {
            notice::progress("");
        }
    }
}
