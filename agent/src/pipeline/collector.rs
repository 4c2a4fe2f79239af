//! What the loop works on, and how the spool is written from it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::time::Instant;

use anyhow::Context;
use aya_log::EbpfLogger;
use tracing::{error, info, warn};
use vctl_common::id::BootId;
use vctl_common::session::{Gap, JournalEntry};
use vctl_common::spool::RingPosition;
use vctl_common::time::{BootNs, WallOffset, wall_now};
use vctl_common::wire::Mark;
use vctl_redact::{RedactRules, Redactor};

use crate::config::{Capture, Config};
use crate::loss::Sequence;
use crate::probe::maps::HostCounters;
use crate::probe::{KERNEL_BTF, OWN_PROGRAM, Probe, ProbeOptions};
use crate::session::boot_now;
use crate::session::login::LoginReader;
use crate::session::pending::PendingDir;
use crate::session::registry::Registry;
use crate::spool::{BatchBuilder, SpoolConfig, SpoolError, SpoolWriter};
use crate::store::Shipper;

use super::budget::Budget;
use super::ending::Ending;
use super::numbers::Numbers;
use super::pins::Tampering;

/// Entries that may wait for a spool that cannot be written: some for each session there can be.
const OUTBOX: usize = 4 * 8192;

/// The collector's state between two turns of the loop.
pub(super) struct Collector {
    pub(super) config: Config,
    pub(super) probe: Probe,
    pub(super) ring_id: u64,
    /// Where the ring is read next; all before it is in the spool.
    pub(super) position: u64,
    pub(super) writer: SpoolWriter,
    pub(super) batch: BatchBuilder,
    /// How far the ring was read for a batch that could not be written and is tried again.
    pub(super) unwritten: Option<u64>,
    /// Journal entries that come after the events now in the ring.
    pub(super) outbox: VecDeque<JournalEntry>,
    pub(super) registry: Registry,
    pub(super) budget: Budget,
    /// Open sessions that the kernel does not record yet; see `held`.
    pub(super) held: HashSet<Mark>,
    /// Numbers arrived, by session.
    pub(super) sequences: HashMap<Mark, Sequence>,
    pub(super) endings: Vec<Ending>,
    pub(super) redactor: Redactor,
    /// One exec record while it is made ready for the spool.
    pub(super) scratch: Vec<u8>,
    pub(super) counters: HostCounters,
    /// Probes the kernel has skipped, and when that was looked at.
    pub(super) skipped: u64,
    pub(super) skipped_checked: BootNs,
    /// Since when housekeeping has seen no session.
    pub(super) quiet_since: Option<Instant>,
    /// Somebody took the probe away while we ran.
    pub(super) detached: bool,
    pub(super) tampering: Tampering,
    /// The probe's own diagnostics, when they are wanted.
    pub(super) probe_log: Option<EbpfLogger<&'static dyn log::Log>>,
    /// Looks at the ring until what was lost can be told to the number.
    pub(super) settle: u8,
    pub(super) pending: PendingDir,
    pub(super) logins: LoginReader,
    /// Why the spool cannot be written, while it cannot.
    pub(super) unhealthy: Option<String>,
    pub(super) numbers: Numbers,
    /// `None` while everything stays on this host.
    pub(super) shipper: Option<Shipper>,
    /// When shipped sessions were last looked at, to be dropped when they are old.
    pub(super) expired_at: Option<Instant>,
    pub(super) boot_id: BootId,
}

impl Collector {
    /// Finds or loads the probe, opens the spool, and brings the two together.
    pub(super) fn start(config: Config) -> anyhow::Result<Self> {
        let boot_id: BootId = fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .context("cannot read the boot id")?
            .parse()?;
        let redactor = Redactor::new(&RedactRules {
            extra_flags: config.redact_flags.clone(),
            extra_names: config.redact_names.clone(),
        })?;
        let (writer, recovered) = SpoolWriter::open(&SpoolConfig {
            dir: config.spool_dir.clone(),
            cap_bytes: config.spool_cap.0,
            segment_bytes: config.segment_size.0,
            host: config.host.clone(),
            boot_id,
        })?;
        let probe = Probe::start(ProbeOptions {
            pin_dir: config.pin_dir.clone(),
            ring_bytes: u32::try_from(config.ring_size.0).unwrap_or(u32::MAX),
            capture_all: config.capture == Capture::All,
            failed_exec: config.failed_exec,
            log: config.probe_log,
            btf: KERNEL_BTF.into(),
            self_test: OWN_PROGRAM.into(),
        })
        .map_err(|error| {
            let hint = error.hint();
            anyhow::Error::new(error).context(format!("cannot start the probe; {hint}"))
        })?;
        let ring_id = probe.maps.state().ring_id;
        let stored = recovered
            .ring
            .filter(|ring| ring.ring_id == ring_id)
            .map(|ring| ring.end);
        let read = probe.maps.ring.position();
        let backlog = probe.maps.ring.backlog();
        // A `kill -9` between the write and giving back: what lies between is stored already.
        let position = stored
            .filter(|end| end.wrapping_sub(read) <= backlog)
            .unwrap_or(read);
        probe.maps.ring.give_back(position);
        info!(
            taken_over = probe.taken_over,
            ring_bytes = probe.maps.ring_bytes,
            backlog_bytes = probe.maps.ring.backlog(),
            "The probe is in place."
        );
        let counters = probe.maps.host_counters();
        let wanted = config.probe_log.then(|| probe.log_source()).flatten();
        let probe_log = wanted.and_then(|program| match EbpfLogger::init_from_id(program) {
            Ok(logger) => Some(logger),
            Err(error) => {
                warn!(%error, "The probe was loaded without its log; `vctl-agent detach` first.");
                None
            }
        });
        let budget = Budget::new(config.session_budget.0, config.spool_cap.0);
        let mut collector = Self {
            pending: PendingDir::new(&config.pending_dir),
            numbers: Numbers::resume(&config.run_dir, boot_id),
            config,
            ring_id,
            position,
            writer,
            batch: BatchBuilder::new(),
            unwritten: None,
            outbox: VecDeque::new(),
            registry: Registry::default(),
            budget,
            held: HashSet::new(),
            sequences: HashMap::new(),
            endings: Vec::new(),
            redactor,
            scratch: Vec::new(),
            counters,
            skipped: probe.skipped(),
            skipped_checked: boot_now(),
            quiet_since: None,
            detached: false,
            tampering: Tampering::default(),
            probe_log,
            settle: 0,
            logins: LoginReader::host(),
            unhealthy: None,
            shipper: None,
            expired_at: None,
            boot_id,
            probe,
        };
        collector.recover(recovered);
        let stored = collector.writer.bytes_by_session();
        for session in collector.registry.iter_mut() {
            let mark = session.opened.id.mark();
            session.spent = stored.get(&mark).copied().unwrap_or(0);
        }
        collector.look_at_budgets();
        // What waits in the ring first: it tells when a session ended while nobody looked, and
        // housekeeping only that it did.
        collector.drain();
        collector.housekeeping();
        collector.drain();
        Ok(collector)
    }

    /// Does what a login need not wait for.
    pub(super) fn finish_start(&mut self) {
        if let Err(error) = self.probe.finish() {
            warn!(%error, "Failed execs are not recorded.");
        }
        give_memory_back();
    }

    /// Returns how many sessions are open.
    pub(super) fn sessions(&self) -> usize {
        self.registry.len() + usize::from(self.config.capture == Capture::All)
    }

    /// Puts an entry behind the events that are now in the ring.
    pub(super) fn journal(&mut self, entry: JournalEntry) {
        if self.outbox.len() < OUTBOX {
            self.outbox.push_back(entry);
        } else {
            error!(
                ?entry,
                "Too much waits for the spool; an entry of its journal is lost."
            );
        }
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        self.numbers.counted.lose(gap.cause, gap.events);
        warn!(
            cause = ?gap.cause,
            events = gap.events,
            session = gap.session.map(tracing::field::display),
            "Events are missing."
        );
        self.journal(JournalEntry::Gap(gap));
    }

    /// Writes the batch and what waits in the outbox; then, and only then, the ring up to `to` is
    /// given back. What cannot be written stays in the ring, and its batch is tried again as it is:
    /// made anew, it would count its events twice and know no more of sessions that ended in it.
    pub(super) fn commit(&mut self, to: u64) -> bool {
        for entry in self.outbox.drain(..) {
            if let Err(error) = self.batch.push_journal(&entry) {
                error!(%error, "A journal entry cannot be written.");
            }
        }
        let nothing = self.batch.is_empty();
        self.note_shipped();
        let ring = RingPosition {
            ring_id: self.ring_id,
            end: to,
        };
        let wall = wall_offset();
        let result = self
            .writer
            .commit(&mut self.batch, Some(ring), wall)
            .and_then(|()| if nothing { Ok(()) } else { self.writer.sync() });
        match result {
            Ok(()) | Err(SpoolError::Sync { .. }) => {
                self.unwritten = None;
                self.position = to;
                self.probe.maps.ring.give_back(to);
            }
            Err(_) => self.unwritten = Some(to),
        }
        self.note_health(result)
    }

    /// Remembers whether the spool can be written, and says so when that changes.
    pub(super) fn note_health(&mut self, result: Result<(), SpoolError>) -> bool {
        match result {
            Ok(()) => {
                if self.unhealthy.take().is_some() {
                    info!("The spool can be written again.");
                }
                true
            }
            Err(error) => {
                let stored = matches!(error, SpoolError::Sync { .. });
                let why = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                if self.unhealthy.is_none() {
                    error!(
                        error = why,
                        "The spool cannot be written; events stay in the ring."
                    );
                }
                self.unhealthy = Some(why);
                stored
            }
        }
    }
}

/// Loading the probe takes some 20 MiB for the kernel's type information. They are free again, but
/// glibc would keep them for as long as the agent runs.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "there is no safe wrapper")]
    // SAFETY: has no conditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Reads both clocks at one moment.
pub(super) fn wall_offset() -> WallOffset {
    WallOffset::between(boot_now(), wall_now())
}
