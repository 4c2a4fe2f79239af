//! The way out of the ring: decode, attribute, redact, append to the batch, and count what is missing.

use std::thread;
use std::time::{Duration, Instant};

use aya_log::EbpfLogger;
use tracing::{error, warn};
use vctl_common::causes::WithCauses;
use vctl_common::event::{self, DecodeError};
use vctl_common::id::ProcessId;
use vctl_common::session::{Gap, GapCause};
use vctl_common::status::CollectorStatus;
use vctl_common::time::BootNs;
use vctl_common::wire::{self, Header, Mark};

use crate::enrich::{cut, record};
use crate::probe::{Probe, self_test};
use crate::proc::reader::ProcReader;
use crate::session::boot_now;
use crate::session::registry::Cut;
use vctl_redact::Redactor;

use super::loss_watch::{Look, LossWatch};
use super::sessions::Sessions;
use super::skip_watch::SkipWatch;
use super::spool_out::SpoolOut;

/// Bytes of the ring that go into one batch.
const BATCH_BYTES: u64 = 1 << 20;
/// Pause between two looks at the ring before the agent ends.
const BETWEEN_LAST_LOOKS: Duration = Duration::from_millis(25);

/// Reads records from the ring and turns them into events of the spool.
pub(super) struct RingDrain {
    redactor: Redactor,
    proc: ProcReader,
    /// One exec record while it is prepared for the spool.
    scratch: Vec<u8>,
    losses: LossWatch,
    skips: SkipWatch,
    /// The look that the last drain had no time to finish.
    look: Option<Look>,
    /// The probe's own diagnostics, if `probe_log` is set.
    probe_log: Option<EbpfLogger<&'static dyn log::Log>>,
    events_captured: u64,
    execs_cut: u64,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Drained {
    /// There were records, or some are awaited.
    pub(super) is_busy: bool,
    /// The time was over before the look.
    pub(super) is_cut_short: bool,
}

/// Records of one batch that could not be decoded.
#[derive(Default)]
struct Broken {
    events: u64,
    session: Option<Mark>,
    error: Option<DecodeError>,
}

impl RingDrain {
    pub(super) fn new(
        redactor: Redactor,
        proc: ProcReader,
        probe: &mut Probe,
        wants_log: bool,
        before: &CollectorStatus,
    ) -> Self {
        let counters = probe.maps.host_counters();
        Self {
            redactor,
            proc,
            scratch: Vec::new(),
            losses: LossWatch::new(counters, probe.taken_over),
            skips: SkipWatch::new(probe, before),
            look: None,
            probe_log: if wants_log { probe_log(probe) } else { None },
            events_captured: before.events_captured,
            execs_cut: before.execs_cut,
        }
    }

    /// Moves the records of the ring to the spool: those that were there when the look began, and no more than fit into
    /// the time. A session can fill the ring faster than it is read, and everything else of the loop waits meanwhile.
    pub(super) fn drain(
        &mut self,
        within: Duration,
        probe: &mut Probe,
        sessions: &mut Sessions,
        out: &mut SpoolOut,
    ) -> Drained {
        if let Some(log) = &mut self.probe_log {
            log.flush();
        }
        if !out.retry() {
            return Drained::default();
        }
        let begun = Instant::now();
        let mut is_any_read = false;
        loop {
            let look = match self.look.take() {
                Some(look) => look,
                None => self.begin_look(probe, sessions, out),
            };
            let mut broken = Broken::default();
            let from = out.position();
            let part = out.ring().read_to(look.end, from, BATCH_BYTES, |bytes| {
                if let Err(error) = self.take(bytes, sessions, out) {
                    broken.events += 1;
                    broken.session = event::header(bytes).ok().map(|header| header.session);
                    broken.error = Some(error);
                }
            });
            note_broken(&broken, sessions, out);
            let to = part.to;
            let is_batch_full = to.wrapping_sub(from) >= BATCH_BYTES;
            is_any_read |= to != from;
            // Behind a record that is still being written, the awaited ones may wait: the look is not over.
            if part.is_all {
                sessions.close_ended(&look.produced, probe, &mut self.skips, out);
                self.state_losses(look, probe, sessions, out);
            } else {
                self.look = Some(look);
            }
            if (to != from || out.has_entries()) && !out.commit(to) {
                return Drained::default();
            }
            let is_cut_short = !part.is_all && is_batch_full && begun.elapsed() >= within;
            if part.is_all || !is_batch_full || is_cut_short {
                return Drained {
                    is_busy: is_any_read
                        || !part.is_all
                        || sessions.is_any_ending()
                        || self.losses.is_settling(),
                    is_cut_short,
                };
            }
        }
    }

    fn state_losses(
        &mut self,
        look: Look,
        probe: &Probe,
        sessions: &mut Sessions,
        out: &mut SpoolOut,
    ) {
        let is_last = self.losses.is_last();
        let (instant, now) = (Instant::now(), boot_now());
        let lost = self
            .losses
            .looked(look, probe.maps.host_counters(), instant);
        let mut next: Option<BootNs> = None;
        for (mark, counters) in &lost {
            if is_last {
                sessions.report_missing(*mark, counters, now, out);
            } else if let Some(due) = sessions.state_losses(*mark, counters, now, out) {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        if let Some(due) = next {
            self.losses.defer_to(instant + due.since(now));
        }
    }

    /// Drains until the losses up to now are stated, for some seconds at most.
    pub(super) fn finish(
        &mut self,
        within: Duration,
        probe: &mut Probe,
        sessions: &mut Sessions,
        out: &mut SpoolOut,
    ) {
        let until = Instant::now() + within;
        self.drain(within, probe, sessions, out);
        self.losses.begin_last();
        while self.losses.is_last() && out.problem().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // A record may be some milliseconds behind its number.
            thread::sleep(left.min(BETWEEN_LAST_LOOKS));
            self.drain(left, probe, sessions, out);
        }
    }

    /// States programs of the probe that the kernel has skipped.
    pub(super) fn note_skipped(&mut self, probe: &mut Probe, out: &mut SpoolOut) {
        if self.skips.look(probe, out) {
            // Before the status, from which the next agent knows that this is stated.
            out.flush();
        }
    }

    fn begin_look(&self, probe: &Probe, sessions: &mut Sessions, out: &SpoolOut) -> Look {
        let has_all = self.losses.needs_all(Instant::now());
        // Before the end of the look is read: see `Look`.
        let produced = sessions.produced(probe, has_all);
        Look {
            end: out.ring().produced(),
            produced,
            has_all,
        }
    }

    /// Puts one record of the ring into the batch.
    fn take(
        &mut self,
        bytes: &[u8],
        sessions: &mut Sessions,
        out: &mut SpoolOut,
    ) -> Result<(), DecodeError> {
        let header = record::header(bytes)?;
        if header.session == self_test::MARK {
            return Ok(());
        }
        self.events_captured += 1;
        if header.session != 0 && sessions.registry().get(header.session).is_none() {
            sessions.adopt(header.session, out);
        }
        match header.kind {
            wire::KIND_EXEC | wire::KIND_EXEC_FAILED => {
                self.take_exec(&header, bytes, sessions, out)?;
            }
            wire::KIND_EXIT => {
                let exit = event::fixed(bytes)?;
                sessions.push_event(&header, bytes, out)?;
                sessions.note_exit(&header, &exit);
            }
            _ => sessions.push_event(&header, bytes, out)?,
        }
        if header.session != 0 {
            sessions.note_arrived(&header);
        }
        Ok(())
    }

    fn take_exec(
        &mut self,
        header: &Header,
        bytes: &[u8],
        sessions: &mut Sessions,
        out: &mut SpoolOut,
    ) -> Result<(), DecodeError> {
        let mut record = std::mem::take(&mut self.scratch);
        // A path that is too deep for the probe is read from /proc.
        let whole_path = |header: &Header, link: &str| {
            let process = ProcessId {
                tgid: header.tgid,
                start: BootNs(header.start),
            };
            self.proc.link(process, link)
        };
        let registry = sessions.registry();
        let written = record::exec(bytes, registry, &self.redactor, whole_path, &mut record);
        let session = registry.get(header.session);
        let cut = session.map_or(Cut::Nothing, |session| session.cut);
        let stored = written.and_then(|()| cut::exec(&mut record, cut));
        let pushed = stored.and_then(|is_cut| {
            self.execs_cut += u64::from(is_cut);
            sessions.push_event(header, &record, out)
        });
        self.scratch = record;
        pushed
    }

    pub(super) fn report(&self, status: &mut CollectorStatus) {
        self.skips.report(status);
        status.events_captured = self.events_captured;
        status.execs_cut = self.execs_cut;
    }
}

fn note_broken(broken: &Broken, sessions: &Sessions, out: &mut SpoolOut) {
    let Some(error) = broken.error else { return };
    error!(error = %WithCauses(&error), events = broken.events, "Records in the ring cannot be decoded.");
    let now = boot_now();
    // Their numbers never arrive either, which gives a gap of the session. This gap names the cause, also for
    // records of an unknown session.
    let session = broken
        .session
        .and_then(|mark| sessions.registry().get(mark));
    let session = session.map(|session| session.opened.id);
    out.gap(Gap::new(GapCause::Undecodable, session, now, now).with_events(broken.events));
}

fn probe_log(probe: &Probe) -> Option<EbpfLogger<&'static dyn log::Log>> {
    match EbpfLogger::init_from_id(probe.log_source()?) {
        Ok(logger) => Some(logger),
        Err(error) => {
            warn!(error = %WithCauses(&error), "The probe was loaded without its log; run `vctl-agent detach` first.");
            None
        }
    }
}
