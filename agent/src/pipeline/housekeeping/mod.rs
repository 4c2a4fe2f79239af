//! Work without an event to start it: late logins, pins, the status file.

mod pins;

use std::time::Instant;

use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::status::CollectorStatus;
use vctl_common::time::BootNs;

use crate::config::Config;
use crate::probe::Probe;
use crate::proc::reader::ProcReader;
use crate::session::boot_now;
use crate::session::late_login::LateLoginDir;

use super::sessions::Sessions;
use super::spool_out::SpoolOut;
use super::status::StatusFile;

use pins::PinWatch;

/// State of the checks that run every few seconds.
pub(super) struct Housekeeping {
    late_logins: LateLoginDir,
    proc: ProcReader,
    pins: PinWatch,
    looked_at: BootNs,
    status_file: StatusFile,
}

impl Housekeeping {
    pub(super) fn new(config: &Config, proc: ProcReader, before: &CollectorStatus) -> Self {
        Self {
            late_logins: LateLoginDir::new(&config.pending_dir),
            proc,
            pins: PinWatch::new(before.pins_restored),
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
        let scan = match self.late_logins.scan(&self.proc) {
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
        let now = boot_now();
        self.pins.look(self.looked_at, probe, out);
        self.looked_at = now;
    }

    pub(super) fn write_status(&mut self, status: &CollectorStatus) {
        self.status_file.write(status);
    }

    pub(super) fn report(&self, status: &mut CollectorStatus) {
        status.pins_restored = self.pins.restored_count();
    }
}
