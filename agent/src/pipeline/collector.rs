//! The collector: five parts, and the order in which they work.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;
use tracing::info;
use vctl_common::id::BootId;
use vctl_common::status::{CollectorStatus, Millis};
use vctl_common::time::wall_now;
use vctl_redact::{RedactRules, Redactor};

use crate::config::{Capture, Config, Mode};
use crate::end_request::EndRequest;
use crate::end_request::channels::{CollectorChannels, channels};
use crate::local_log::LocalLog;
use crate::probe::{KERNEL_BTF, OWN_PROGRAM, Probe, ProbeOptions};
use crate::proc::reader::ProcReader;
use crate::session::server::PendingStamp;
use crate::spool::{SpoolConfig, SpoolError, SpoolWriter};
use crate::store::Route;

use super::housekeeping::Housekeeping;
use super::ring_drain::{Drained, RingDrain};
use super::sessions::Sessions;
use super::shipping::Shipping;
use super::spool_out::SpoolOut;
use super::status;

/// Time for one drain of the ring, after which the loop looks for signals, logins and requests.
const DRAIN: Duration = Duration::from_millis(50);
/// Time for the logins of one housekeeping, within which a hook does not give up: the rest has its turn soon.
const HOUSEKEEPING_TURN: Duration = Duration::from_secs(1);
/// As [`DRAIN`] at the start, before the agent is ready, and at its end. A full ring of the usual size takes about a second.
const DRAIN_WHOLE: Duration = Duration::from_secs(5);

/// The state between two turns of the loop.
pub(super) struct Collector {
    mode: Mode,
    captures_all: bool,
    spool_cap_bytes: u64,
    agent_version: String,
    boot_id: BootId,
    probe: Probe,
    drain: RingDrain,
    out: SpoolOut,
    sessions: Sessions,
    housekeeping: Housekeeping,
    shipping: Shipping,
    /// `None` while everything stays on this host.
    channels: Option<CollectorChannels>,
}

impl Collector {
    /// Finds or loads the probe, opens the spool, and continues where the last collector stopped.
    pub(super) fn start(config: &Config) -> anyhow::Result<Self> {
        let proc = ProcReader::host();
        let boot_id = proc.boot_id().context("cannot read the boot id")?;
        let redactor = Redactor::new(&RedactRules {
            extra_flags: config.redact_flags.clone(),
            extra_names: config.redact_names.clone(),
        })?;
        let spool = SpoolWriter::open(&SpoolConfig {
            dir: config.spool_dir.clone(),
            cap_bytes: config.spool_cap.0,
            segment_bytes: config.segment_size.0,
            host: config.host.clone(),
            boot_id,
        });
        // Otherwise the spool comes first: its lock keeps a second agent away from this one's probe.
        if let Err(SpoolError::Full { .. }) = &spool {
            // From now on the kernel notes the logins, for the collector that finds room on the disk.
            start_probe(config)?;
        }
        let (writer, recovered) = spool?;
        let mut probe = start_probe(config)?;
        let before = status::resume(&config.run_dir, boot_id);
        let log = LocalLog::open(config.local_log, before.local_log);
        let ring = (Rc::clone(&probe.maps.ring), probe.maps.state().ring_id);
        let out = SpoolOut::new(writer, recovered.ring, ring, &before, log);
        info!(
            taken_over = probe.taken_over,
            ring_bytes = probe.maps.ring_bytes,
            backlog_bytes = probe.maps.ring.backlog(),
            "The probe is in place."
        );
        let mut collector = Self {
            mode: config.mode,
            captures_all: config.capture == Capture::All,
            spool_cap_bytes: config.spool_cap.bytes(),
            boot_id,
            drain: RingDrain::new(
                redactor,
                proc.clone(),
                &mut probe,
                config.probe_log,
                &before,
            ),
            out,
            sessions: Sessions::new(config, proc.clone(), &before),
            housekeeping: Housekeeping::new(config, proc, &before),
            shipping: Shipping::new(config, boot_id, &before),
            channels: None,
            agent_version: before.agent_version,
            probe,
        };
        let Self {
            probe,
            out,
            sessions,
            ..
        } = &mut collector;
        sessions.recover(recovered, probe, out);
        // The ring first: it has the time at which a session ended meanwhile; housekeeping finds only that it ended.
        collector.drain_whole();
        collector.housekeeping();
        collector.drain();
        Ok(collector)
    }

    /// Does the part of the start for which a login need not wait.
    pub(super) fn finish_start(&mut self) {
        self.probe.finish();
        self.write_status();
        give_memory_back();
    }

    /// Starts to ship. Returns the queue of the centre's requests to end sessions.
    pub(super) fn ship_by(&mut self, route: Route) -> anyhow::Result<mpsc::Receiver<EndRequest>> {
        let (collector, shipper, requests) = channels();
        collector.note_open(self.sessions.registry().len());
        self.shipping.start(route, shipper, &mut self.out)?;
        self.channels = Some(collector);
        Ok(requests)
    }

    /// Begins to end a session on request.
    pub(super) fn end_session(&mut self, request: EndRequest) {
        let answer = self.sessions.begin_end(request);
        if let (Some(answer), Some(channels)) = (answer, &self.channels) {
            channels.answer(answer);
        }
    }

    /// Returns how many sessions are open.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.registry().len() + usize::from(self.captures_all)
    }

    /// Answers a login.
    pub(super) fn stamp(&mut self, pending: PendingStamp) {
        let refusal = self.obstacle().filter(|_| self.mode == Mode::Strict);
        self.sessions
            .stamp(pending, refusal, &mut self.probe, &mut self.out);
    }

    /// Moves records of the ring to the spool, for a moment at most.
    pub(super) fn drain(&mut self) -> Drained {
        self.drain_within(DRAIN)
    }

    /// Moves the records to the spool that are in the ring now, for some seconds at most: the rest stays in the ring, also
    /// for the next collector.
    pub(super) fn drain_whole(&mut self) {
        self.drain_within(DRAIN_WHOLE);
    }

    /// Ends the recording of this agent, not that of the probe: all that is in the ring or lost by now goes to the record.
    pub(super) fn finish(&mut self) {
        let Self {
            drain,
            probe,
            sessions,
            out,
            ..
        } = self;
        drain.finish(DRAIN_WHOLE, probe, sessions, out);
        sessions.state_unmarked(out);
        drain.note_skipped(probe, out);
        self.write_status();
    }

    fn drain_within(&mut self, within: Duration) -> Drained {
        let drained = self
            .drain
            .drain(within, &mut self.probe, &mut self.sessions, &mut self.out);
        let Some(channels) = &self.channels else {
            return drained;
        };
        if self.sessions.is_any_requested() {
            for answer in self.sessions.continue_ends(&mut self.probe) {
                channels.answer(answer);
            }
        }
        channels.note_open(self.sessions.registry().len());
        Drained {
            is_busy: drained.is_busy || self.sessions.is_any_requested(),
            ..drained
        }
    }

    /// Does the work that no event starts. Called every few seconds. Returns false when work is left, because there was
    /// too much for one turn.
    pub(super) fn housekeeping(&mut self) -> bool {
        let Self {
            probe,
            drain,
            out,
            sessions,
            housekeeping,
            shipping,
            ..
        } = self;
        // All of it together has a time: each login costs a write to the disk.
        let until = Instant::now() + HOUSEKEEPING_TURN;
        let mut is_all_done = housekeeping.take_late_logins(until, sessions, probe, out);
        sessions.decide_unconfirmed(probe, out);
        is_all_done &= sessions.find_unstamped(until, housekeeping.looked_at(), probe, out);
        sessions.mark_again(probe, out);
        sessions.find_ended(probe);
        housekeeping.look_at_pins(probe, out);
        drain.note_skipped(probe, out);
        sessions.watch_or_rest(probe);
        sessions.refresh_budgets();
        out.note_shipped();
        shipping.drop_expired(out);
        self.write_status();
        is_all_done
    }

    /// Writes the status for the heartbeat, and the metrics if a textfile is configured.
    pub(super) fn write_status(&mut self) {
        let status = self.status();
        self.housekeeping.write_status(&status);
    }

    /// Returns state and counters of this moment.
    pub(super) fn status(&self) -> CollectorStatus {
        let mut status = CollectorStatus {
            agent_version: self.agent_version.clone(),
            boot_id: Some(self.boot_id),
            written_at: Millis::from_time(wall_now()),
            mode: self.mode.to_string(),
            problem: self.problem(),
            failed_execs: self.probe.failed_execs(),
            failed_execs_unseen: self.probe.misses_failed_execs(),
            ring_bytes: u64::from(self.probe.maps.ring_bytes),
            spool_cap_bytes: self.spool_cap_bytes,
            ..CollectorStatus::default()
        };
        self.drain.report(&mut status);
        self.out.report(&mut status);
        self.sessions.report(&mut status);
        self.housekeeping.report(&mut status);
        let unshipped = self.out.writer().stats().unshipped_bytes;
        self.shipping.report(unshipped, &mut status);
        status
    }

    fn problem(&self) -> Option<String> {
        self.obstacle()
            .or_else(|| self.housekeeping.problem())
            .or_else(|| self.sessions.problem())
    }

    /// The reason why nothing can be recorded now: the spool or the probe.
    fn obstacle(&self) -> Option<String> {
        if let Some(why) = self.out.problem() {
            return Some(format!("the spool cannot be written: {why}"));
        }
        let is_detached = self.housekeeping.is_detached();
        is_detached.then(|| "the probe is no longer attached".to_owned())
    }
}

fn start_probe(config: &Config) -> anyhow::Result<Probe> {
    Probe::start(ProbeOptions {
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
    })
}

/// Returns memory to the kernel. Loading the probe takes about 20 MiB for the kernel's type information; glibc would
/// hold them as long as the agent runs.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "there is no safe wrapper")]
    // SAFETY: has no conditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
