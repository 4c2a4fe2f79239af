//! Work without an event to start it: late logins, pins, skipped probes, the status file.

mod pins;

use std::time::Instant;

use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::session::{Gap, GapCause};
use vctl_common::status::CollectorStatus;
use vctl_common::time::BootNs;

use crate::config::Config;
use crate::probe::Probe;
use crate::session::boot_now;
use crate::session::late_login::LateLoginDir;
use crate::session::login::LoginReader;

use super::sessions::Sessions;
use super::spool_out::SpoolOut;
use super::status::StatusFile;

use pins::PinWatch;

/// State of the checks that run every few seconds.
pub(super) struct Housekeeping {
    late_logins: LateLoginDir,
    logins: LoginReader,
    pins: PinWatch,
    /// Calls of the probe that the kernel has skipped, and when that was read, by this collector or the one before.
    skipped: u64,
    skipped_at: BootNs,
    looked_at: BootNs,
    status_file: StatusFile,
}

impl Housekeeping {
    pub(super) fn new(
        config: &Config,
        logins: LoginReader,
        probe: &Probe,
        before: &CollectorStatus,
    ) -> Self {
        let loaded_at = BootNs(probe.maps.state().loaded_at);
        let known = before.probe_skipped.filter(|_| probe.taken_over);
        let known = known.and_then(|known| reported(known, loaded_at, probe.skipped()));
        let (skipped, skipped_at) = known.unwrap_or_else(|| (probe.skipped(), boot_now()));
        Self {
            late_logins: LateLoginDir::new(&config.pending_dir),
            logins,
            pins: PinWatch::new(before.pins_restored),
            skipped,
            skipped_at,
            looked_at: boot_now(),
            status_file: StatusFile::new(config),
        }
    }

    /// Time of the last check of the probe.
    pub(super) fn looked_at(&self) -> BootNs {
        self.looked_at
    }

    pub(super) fn is_detached(&self) -> bool {
        self.pins.is_detached()
    }

    /// The sentence for the status, while the pins have a problem.
    pub(super) fn problem(&self) -> Option<String> {
        self.pins.problem()
    }

    /// Opens the sessions of logins that went on without a stamp. Returns false when some are left at `until`.
    pub(super) fn take_late_logins(
        &mut self,
        until: Instant,
        sessions: &mut Sessions,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) -> bool {
        let scan = match self.late_logins.scan(&self.logins) {
            Ok(scan) => scan,
            Err(error) => {
                warn!(error = %WithCauses(&error), "The files of late logins cannot be read.");
                return true;
            }
        };
        for rejected in &scan.rejected {
            warn!(name = ?rejected.name, why = rejected.why, "Rejected a file that is not of a late login.");
        }
        sessions.open_late_logins(scan.logins, until, probe, out, |id| {
            if let Err(error) = self.late_logins.remove(id) {
                warn!(error = %WithCauses(&error), session = %id, "The file of a late login stays.");
            }
        })
    }

    pub(super) fn look_at_pins(&mut self, probe: &mut Probe, out: &mut SpoolOut) {
        self.pins.look(self.looked_at, probe, out);
    }

    /// Counts skipped probes against every session: the session of a skipped event is not known.
    pub(super) fn note_skipped(&mut self, probe: &mut Probe, out: &mut SpoolOut) {
        let mut now = boot_now();
        let mut skipped = probe.skipped();
        if skipped > self.skipped {
            probe.leave_skipped_exits();
            (skipped, now) = (probe.skipped(), boot_now());
            out.gap(Gap::new(GapCause::ProbeSkipped, None, self.skipped_at, now));
            // Before the status, from which the next agent knows that this is reported.
            out.flush();
        }
        (self.skipped, self.skipped_at, self.looked_at) = (skipped, now, now);
    }

    pub(super) fn write_status(&mut self, status: &CollectorStatus) {
        self.status_file.write(status);
    }

    pub(super) fn report(&self, status: &mut CollectorStatus) {
        status.pins_restored = self.pins.restored_count();
        status.probe_skipped = Some((self.skipped, self.skipped_at));
    }
}

/// Returns up to which count the collector before has reported skipped probes, and when. `None` if it ran another probe.
fn reported((count, at): (u64, BootNs), loaded_at: BootNs, now: u64) -> Option<(u64, BootNs)> {
    // A lower count is one of two copies since the second was attached. All of it may be new.
    let count = if count > now { 0 } else { count };
    (at >= loaded_at).then_some((count, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_that_the_collector_before_reported_are_not_new() {
        let loaded_at = BootNs(100);
        let known = |count, at, now| reported((count, BootNs(at)), loaded_at, now);
        assert_eq!(known(5, 200, 5), Some((5, BootNs(200))));
        assert_eq!(known(5, 200, 7), Some((5, BootNs(200))));
        assert_eq!(known(5, 200, 2), Some((0, BootNs(200))));
        assert_eq!(known(5, 99, 7), None);
    }
}
