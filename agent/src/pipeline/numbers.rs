//! What the collector counts, for `collector.json` and the metrics.

use std::path::Path;

use tracing::{debug, warn};
use vctl_common::id::BootId;
use vctl_common::session::GapCause;
use vctl_common::status::{self, CollectorStatus, Loss, Millis, StatusError};
use vctl_common::time::wall_now;

use crate::metrics::write_textfile;

use super::collector::Collector;

/// Counters since the boot, as far as the spool does not have them itself.
pub(super) struct Numbers {
    pub(super) counted: CollectorStatus,
    /// What earlier collectors of this boot stored and dropped; the spool counts since it was opened.
    stored_before: u64,
    dropped_before: Loss,
    unwritable: bool,
}

impl Numbers {
    /// Goes on where the last collector of this boot stopped. After a `kill -9` that is where it last
    /// wrote: the gaps in the spool are the record, and these numbers only show that there are some.
    pub(super) fn resume(run_dir: &Path, boot_id: BootId) -> Self {
        let mut counted = match status::read(run_dir) {
            Ok(before) if before.boot_id == Some(boot_id) => before,
            Ok(_) | Err(StatusError::Absent { .. }) => CollectorStatus::default(),
            Err(error) => {
                warn!(%error, "The collector's counters begin anew.");
                CollectorStatus::default()
            }
        };
        counted.boot_id = Some(boot_id);
        env!("CARGO_PKG_VERSION").clone_into(&mut counted.agent_version);
        Self {
            stored_before: counted.events_stored,
            dropped_before: counted
                .losses
                .get(&GapCause::SpoolCap)
                .copied()
                .unwrap_or_default(),
            unwritable: false,
            counted,
        }
    }
}

impl Collector {
    /// Returns state and counters of this moment.
    pub(super) fn status(&self) -> CollectorStatus {
        let mut status = self.numbers.counted.clone();
        let spool = self.writer.stats();
        status.written_at = Millis::from_time(wall_now());
        status.mode = self.config.mode.to_string();
        status.problem = self.problem();
        status.failed_execs_unseen = self.probe.misses_compat_execs();
        status.sessions_open = self.registry.len() as u64;
        status.events_stored = self.numbers.stored_before + spool.events_stored;
        let dropped = spool.events_dropped + spool.unattributed_dropped;
        let before = self.numbers.dropped_before;
        if dropped > 0 || before != Loss::default() {
            let events = before.events + dropped;
            status
                .losses
                .insert(GapCause::SpoolCap, Loss { events, ..before });
        }
        status.ring_bytes = u64::from(self.probe.maps.ring_bytes);
        status.ring_used_bytes = self.probe.maps.ring.backlog();
        status.spool_bytes = spool.bytes;
        status.spool_cap_bytes = self.config.spool_cap.bytes();
        status.shipping = self.shipping(spool.unshipped_bytes);
        status
    }

    fn problem(&self) -> Option<String> {
        let spool = self.unhealthy.as_ref();
        spool
            .map(|why| format!("the spool cannot be written: {why}"))
            .or_else(|| {
                self.detached
                    .then(|| "the probe is no longer attached".to_owned())
            })
            .or_else(|| self.tampering.problem())
            .or_else(|| {
                let over = self.numbers.counted.sessions_over_budget;
                let sessions = if over == 1 {
                    "session is"
                } else {
                    "sessions are"
                };
                (over > 0).then(|| format!("{over} {sessions} over the byte budget: argv is cut"))
            })
    }

    /// Leaves the status where the heartbeat finds it, and the metrics where they are wanted. Nothing
    /// that is recorded depends on it, so a directory that cannot be written is said once.
    pub(super) fn write_status(&mut self) {
        let status = self.status();
        let textfile = self.config.metrics_textfile.as_ref();
        let written = status::write(&self.config.run_dir, &status)
            .and_then(|()| textfile.map_or(Ok(()), |path| write_textfile(path, &status)));
        match written {
            Ok(()) => self.numbers.unwritable = false,
            Err(error) if self.numbers.unwritable => debug!(%error, "The status is not written."),
            Err(error) => {
                self.numbers.unwritable = true;
                warn!(%error, "The collector's status or metrics cannot be written.");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_within_a_boot_and_begin_anew_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let boot = |n| BootId::from_uuid(uuid::Uuid::from_u128(n));
        let mut before = Numbers::resume(dir.path(), boot(1)).counted;
        before.events_captured = 12;
        before.events_stored = 10;
        before.lose(GapCause::SpoolCap, Some(2));
        status::write(dir.path(), &before).unwrap();

        let same = Numbers::resume(dir.path(), boot(1));
        assert_eq!(same.counted.events_captured, 12);
        assert_eq!(same.stored_before, 10);
        assert_eq!(same.dropped_before.events, 2);
        let next = Numbers::resume(dir.path(), boot(2));
        assert_eq!(next.counted.events_captured, 0);
        assert_eq!(next.stored_before, 0);
    }

    #[test]
    fn a_broken_file_does_not_keep_the_collector_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(status::FILE), "{").unwrap();
        let boot = BootId::from_uuid(uuid::Uuid::from_u128(1));
        let numbers = Numbers::resume(dir.path(), boot);
        assert_eq!(numbers.counted.events_captured, 0);
    }
}
