//! The file of the collector's status: counters continue from it within a boot, and the heartbeat reads it.

use std::path::{Path, PathBuf};

use tracing::{debug, warn};
use vctl_common::causes::WithCauses;
use vctl_common::id::BootId;
use vctl_common::status::{self, CollectorStatus, StatusError};

use crate::config::Config;
use crate::metrics::write_textfile;

/// Reads the counters of the last collector of this boot. After a `kill -9` they are as old as the file. The gaps
/// in the spool are the record; these numbers only show that there are some.
pub(super) fn resume(run_dir: &Path, boot_id: BootId) -> CollectorStatus {
    let before = match status::read(run_dir) {
        Ok(before) if before.boot_id == Some(boot_id) => before,
        Ok(_) | Err(StatusError::Absent { .. }) => CollectorStatus::default(),
        Err(error) => {
            warn!(error = %WithCauses(&error), "The collector's counters begin at zero.");
            CollectorStatus::default()
        }
    };
    CollectorStatus {
        boot_id: Some(boot_id),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..before
    }
}

/// Where the status is written, and as metrics if a textfile is configured.
pub(super) struct StatusFile {
    run_dir: PathBuf,
    textfile: Option<PathBuf>,
    unwritable: bool,
}

impl StatusFile {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            run_dir: config.run_dir.clone(),
            textfile: config.metrics_textfile.clone(),
            unwritable: false,
        }
    }

    /// Writes the status. No record depends on it, so a directory that cannot be written is logged once.
    pub(super) fn write(&mut self, status: &CollectorStatus) {
        let textfile = self.textfile.as_ref();
        let written = status::write(&self.run_dir, status)
            .and_then(|()| textfile.map_or(Ok(()), |path| write_textfile(path, status)));
        match written {
            Ok(()) => self.unwritable = false,
            Err(error) if self.unwritable => {
                debug!(error = %WithCauses(&error), "The status is not written.");
            }
            Err(error) => {
                self.unwritable = true;
                warn!(error = %WithCauses(&error), "The collector's status or metrics cannot be written.");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::session::GapCause;

    #[test]
    fn counters_continue_within_a_boot_only() {
        let dir = tempfile::tempdir().unwrap();
        let boot = |n| BootId::from_uuid(uuid::Uuid::from_u128(n));
        let mut before = resume(dir.path(), boot(1));
        before.events_captured = 12;
        before.events_stored = 10;
        before.lose(GapCause::SpoolCap, Some(2));
        status::write(dir.path(), &before).unwrap();

        let same = resume(dir.path(), boot(1));
        assert_eq!((same.events_captured, same.events_stored), (12, 10));
        assert_eq!(same.losses[&GapCause::SpoolCap].events, 2);
        let next = resume(dir.path(), boot(2));
        assert_eq!((next.events_captured, next.events_stored), (0, 0));
        assert!(next.losses.is_empty());
    }

    #[test]
    fn a_broken_status_file_does_not_stop_the_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(status::FILE), "{").unwrap();
        let boot = BootId::from_uuid(uuid::Uuid::from_u128(1));
        assert_eq!(resume(dir.path(), boot).events_captured, 0);
    }
}
