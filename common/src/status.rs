//! Status of the collector, for the node heartbeat and the metrics.
//!
//! Written to [`FILE`] in the run directory, which is in memory: a boot clears it. Within one boot,
//! the counters continue when the collector restarts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::atomic_file::{Durability, NewFile, Unfinished};
use crate::id::BootId;
use crate::session::{GapCause, Stamp};
use crate::time::BootNs;

/// Name of the file in the collector's run directory.
pub const FILE: &str = "collector.json";

/// Far more than a status needs. Any other file of this name must not fill the memory.
const FILE_MAX: u64 = 256 * 1024;

/// Probes that watch failed execs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedExecs {
    /// Failed execs are not recorded.
    Off,
    /// At the exit of the kernel's exec functions: other system calls cost nothing.
    ExecExit,
    /// At the end of system calls, while a session is open. All earlier agents use these.
    #[default]
    SystemCallExit,
}

/// State and counters of one collector. Counters start at the host's boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CollectorStatus {
    pub agent_version: String,
    pub boot_id: Option<BootId>,
    /// Time of writing, in milliseconds since the Unix epoch.
    pub written_at: Millis,
    /// `best-effort` or `strict`.
    pub mode: String,
    /// Reason why recording does not work completely at present.
    pub problem: Option<String>,
    pub sessions_open: u64,
    /// Records read from the ring.
    pub events_captured: u64,
    /// Records written to the spool, including those dropped later.
    pub events_stored: u64,
    /// Execs stored without a part of argv, because their session exceeded its byte budget.
    pub execs_cut: u64,
    pub sessions_over_budget: u64,
    /// Pins of the probe that were removed or replaced, and restored.
    pub pins_restored: u64,
    /// Calls of the probe that the kernel skipped, as far as they are reported, and the boot time of that look.
    pub probe_skipped: Option<(u64, BootNs)>,
    /// What a later collector needs to count them in the same way.
    pub skip_bases: SkipBases,
    /// The probes that watch failed execs.
    pub failed_execs: FailedExecs,
    /// Failed execs, all or those of the table of 32-bit system calls, cannot be recorded.
    pub failed_execs_unseen: bool,
    /// Losses that are final, by cause.
    pub losses: BTreeMap<GapCause, Loss>,
    /// Logins that the kernel could not note because its map was full; counted in `logins` too.
    pub logins_unseen: u64,
    pub logins: Logins,
    pub ring_bytes: u64,
    pub ring_used_bytes: u64,
    pub spool_bytes: u64,
    pub spool_cap_bytes: u64,
    /// `None` for a collector that does not ship its records.
    pub shipping: Option<Shipping>,
    /// `None` without `local_log`.
    pub local_log: Option<LocalLogStatus>,
}

/// Programs of the probe whose second copy was attached later than the first one, by name.
pub type SkipBases = BTreeMap<String, SkipBase>;

/// Skips of the two copies of a program when the second one was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SkipBase {
    pub first: u64,
    pub second: u64,
}

/// Lines for journald or syslog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalLogStatus {
    pub written: u64,
    /// The log daemon was away, or its queue was full.
    pub dropped: u64,
}

/// State of shipping to the centre.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shipping {
    pub events_shipped: u64,
    /// Bytes of the spool that the centre does not have yet.
    pub backlog_bytes: u64,
    /// Time of the oldest record among them.
    pub oldest_unshipped_at: Option<Millis>,
    /// Time of the last successful shipment.
    pub last_shipped_at: Option<Millis>,
    pub secret_id_expires_at: Option<Millis>,
    /// Reason why nothing is shipped at present.
    pub problem: Option<String>,
    /// Identifies the spool at the centre.
    pub spool_id: Option<Uuid>,
    /// A second machine that reports as this host: the credential was copied.
    pub other_machine: Option<String>,
}

/// Losses of one cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// Events of gaps with a known size.
    pub events: u64,
    /// Gaps of unknown size.
    pub unknown: u64,
}

/// Logins, by the result of their stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logins {
    pub in_time: u64,
    pub late: u64,
    pub break_glass: u64,
    pub missed: u64,
    /// Seen only by the probe: no hook requested a stamp.
    pub without_stamp: u64,
    /// Logins with an unreadable certificate, whatever their stamp.
    pub unreadable_certificate: u64,
    /// Requests for logins that already had a session: PAM has two lines with the hook.
    pub second_stamps: u64,
}

/// Wall time in milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// Times before 1970 count as 1970.
    pub fn from_time(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }
}

impl Logins {
    pub fn count(&mut self, stamp: Stamp) {
        *match stamp {
            Stamp::InTime => &mut self.in_time,
            Stamp::Late => &mut self.late,
            Stamp::BreakGlass => &mut self.break_glass,
            Stamp::Missed => &mut self.missed,
        } += 1;
    }

    /// Returns the number of logins whose shell did not wait for the stamp.
    pub fn unstamped(&self) -> u64 {
        self.late + self.break_glass + self.missed + self.without_stamp
    }
}

impl Loss {
    /// Counts a gap of a number of events, or of unknown size.
    pub fn add(&mut self, events: Option<u64>) {
        match events {
            Some(events) => self.events = self.events.saturating_add(events),
            None => self.unknown += 1,
        }
    }
}

impl CollectorStatus {
    /// Counts a gap with a number of events or of unknown size.
    pub fn lose(&mut self, cause: GapCause, events: Option<u64>) {
        self.losses.entry(cause).or_default().add(events);
    }

    /// Returns the smallest number of events that were lost: a gap of unknown size counts as one
    /// event. A late stamp counts in its login, and events beyond the spool's cap count as dropped.
    pub fn events_lost(&self) -> u64 {
        self.losses
            .iter()
            .filter(|(cause, _)| {
                !matches!(
                    cause,
                    GapCause::StampedLate
                        | GapCause::LoginWithoutStamp
                        | GapCause::SpoolCap
                        | GapCause::Shipped
                )
            })
            .fold(0, |sum: u64, (_, loss)| {
                sum.saturating_add(loss.events).saturating_add(loss.unknown)
            })
    }

    /// Returns the number of events that the spool dropped at its cap.
    pub fn events_dropped(&self) -> u64 {
        let dropped = self.losses.get(&GapCause::SpoolCap);
        dropped.map_or(0, |loss| loss.events.saturating_add(loss.unknown))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No collector has run since the host was booted.
    #[error("`{}` does not exist", path.display())]
    Absent { path: PathBuf },
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` does not contain a collector's status", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

/// Reads the status in `run_dir`.
pub fn read(run_dir: &Path) -> Result<CollectorStatus, StatusError> {
    use io::Read as _;
    let path = run_dir.join(FILE);
    let mut text = Vec::new();
    let read = fs::File::open(&path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => {
            serde_json::from_slice(&text).map_err(|source| StatusError::Malformed { path, source })
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            Err(StatusError::Absent { path })
        }
        Err(source) => Err(StatusError::Unreadable { path, source }),
    }
}

/// Writes the status to `run_dir`; a reader sees the old or the new one as a whole.
pub fn write(run_dir: &Path, status: &CollectorStatus) -> io::Result<()> {
    let text = serde_json::to_vec(status).map_err(io::Error::other)?;
    let new = NewFile {
        // The unit's umask decides who may read it.
        mode: None,
        // It is written every few seconds, and on a file system in memory.
        ..NewFile::private(Durability::Unsynced, Unfinished::OneName)
    };
    new.replace(&run_dir.join(FILE), |out| out.write_all(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> CollectorStatus {
        let mut status = CollectorStatus {
            mode: "strict".to_owned(),
            written_at: Millis(1_700_000_000_123),
            shipping: Some(Shipping::default()),
            ..CollectorStatus::default()
        };
        status.lose(GapCause::RingFull, Some(7));
        status.lose(GapCause::RingFull, Some(1));
        status.lose(GapCause::ProbeAway, None);
        status.lose(GapCause::StampedLate, None);
        status.lose(GapCause::SpoolCap, Some(40));
        status
    }

    #[test]
    fn a_status_is_read_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &status()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), status());
    }

    #[test]
    fn an_unknown_gap_counts_as_one_lost_event() {
        assert_eq!(status().events_lost(), 9);
        assert_eq!(status().events_dropped(), 40);
    }

    #[test]
    fn a_status_of_another_version_is_read_as_far_as_it_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let text = br#"{"mode":"strict","later":[1],"losses":{"ring_full":{"events":2}}}"#;
        fs::write(dir.path().join(FILE), text).unwrap();
        let read = read(dir.path()).unwrap();
        assert_eq!((read.mode.as_str(), read.events_lost()), ("strict", 2));
        assert_eq!(read.shipping, None);
    }

    #[test]
    fn no_status_and_a_broken_one_are_two_things() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read(dir.path()), Err(StatusError::Absent { .. })));
        fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(matches!(
            read(dir.path()),
            Err(StatusError::Malformed { .. })
        ));
    }
}
