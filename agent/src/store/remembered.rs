//! The shipped position in the spool's directory, written from time to time.

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::debug;
use uuid::Uuid;
use vctl_common::causes::WithCauses;

use crate::spool::{Position, remember_shipped};

/// Time between two writes.
const INTERVAL: Duration = Duration::from_secs(10);

/// The content of `shipped.json`, and its time.
pub(super) struct Remembered {
    position: Option<Position>,
    at: Instant,
}

impl Remembered {
    pub(super) fn new(position: Option<Position>) -> Self {
        Self {
            position,
            at: Instant::now(),
        }
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.position
    }

    pub(super) fn is_due(&self) -> bool {
        self.at.elapsed() >= INTERVAL
    }

    /// Writes a position, unless it is the last one or not known.
    pub(super) fn write(&mut self, dir: &Path, spool: Uuid, position: Option<Position>) {
        self.at = Instant::now();
        let Some(position) = position.filter(|p| self.position != Some(*p)) else {
            return;
        };
        match remember_shipped(dir, spool, position) {
            Ok(()) => self.position = Some(position),
            Err(error) => {
                debug!(error = %WithCauses(&error), "How far the spool is shipped cannot be written down.");
            }
        }
    }
}
