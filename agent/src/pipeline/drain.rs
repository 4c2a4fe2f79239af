//! From the ring to the spool: decode, attribute, redact, append.

use std::rc::Rc;

use vctl_common::event::{self, DecodeError};
use vctl_common::id::ProcessId;
use vctl_common::session::{Gap, GapCause};
use vctl_common::time::BootNs;
use vctl_common::wire::{self, Exit, Header, Mark};

use crate::enrich::cut::{self, Cut};
use crate::enrich::{procfs, record};
use crate::session::boot_now;

use super::collector::Collector;

/// Bytes of the ring that go into one batch.
const BATCH_BYTES: u64 = 1 << 20;
/// Looks at the ring after which a number that is still away is lost. A number is taken before its
/// record is in the ring, and in between the CPU may be busy elsewhere.
const SETTLE: u8 = 3;

/// Records of one batch that could not be read.
#[derive(Default)]
struct Broken {
    events: u64,
    session: Option<Mark>,
    error: Option<DecodeError>,
}

impl Collector {
    /// Moves everything that is in the ring to the spool. Returns whether there was anything.
    pub(super) fn drain(&mut self) -> bool {
        if let Some(log) = &mut self.probe_log {
            log.flush();
        }
        if let Some(to) = self.unwritten
            && !self.commit(to)
        {
            return false;
        }
        let mut busy = false;
        loop {
            // Taken before the ring is read: numbers up to here are in it, or lost, or on their way.
            let produced = self.produced();
            let mut broken = Broken::default();
            let from = self.position;
            let to = self.read_batch(from, &mut broken);
            self.note_broken(&broken);
            let read = to != from;
            busy |= read;
            if to.wrapping_sub(from) < BATCH_BYTES {
                self.note_losses(&produced);
                self.end_sessions(&produced);
            }
            if (read || !self.outbox.is_empty()) && !self.commit(to) {
                return false;
            }
            if to.wrapping_sub(from) < BATCH_BYTES {
                return busy || !self.endings.is_empty() || self.settle > 0;
            }
        }
    }

    /// Returns what the kernel has counted for sessions that need it: those about to end, and all
    /// of them after a loss.
    fn produced(&self) -> Vec<(Mark, wire::SessionCounters)> {
        if self.settle > 0 {
            return self.probe.maps.sessions();
        }
        let marks = self.endings.iter().map(|ending| ending.mark);
        marks
            .filter_map(|mark| Some((mark, self.probe.maps.session(mark)?)))
            .collect()
    }

    fn read_batch(&mut self, from: u64, broken: &mut Broken) -> u64 {
        let ring = Rc::clone(&self.probe.maps.ring);
        ring.read(from, BATCH_BYTES, |bytes| {
            if let Err(error) = self.take(bytes) {
                broken.events += 1;
                broken.session = event::header(bytes).ok().map(|header| header.session);
                broken.error = Some(error);
            }
        })
    }

    /// Puts one record of the ring into the batch.
    fn take(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.numbers.counted.events_captured += 1;
        let header = record::header(bytes)?;
        if header.session != 0 && self.registry.get(header.session).is_none() {
            self.adopt(header.session);
        }
        match header.kind {
            wire::KIND_EXEC | wire::KIND_EXEC_FAILED => self.take_exec(&header, bytes)?,
            wire::KIND_EXIT => self.take_exit(&header, bytes)?,
            _ => self.push(&header, bytes)?,
        }
        if header.session != 0 {
            let sequence = self.sequences.entry(header.session).or_default();
            sequence.see(header.session_seq, BootNs(header.at));
            self.registry.add_stored(header.session, 1);
        }
        Ok(())
    }

    fn take_exec(&mut self, header: &Header, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut record = std::mem::take(&mut self.scratch);
        // One that is too deep for the probe is asked of /proc.
        let whole_path = |header: &Header, link: &str| {
            let process = ProcessId {
                tgid: header.tgid,
                start: BootNs(header.start),
            };
            procfs::link(&self.logins, process, link)
        };
        let written = record::exec(
            bytes,
            &self.registry,
            &self.redactor,
            whole_path,
            &mut record,
        );
        let session = self.registry.get(header.session);
        let cut = session.map_or(Cut::Nothing, |session| session.cut);
        let stored = written.and_then(|()| cut::exec(&mut record, cut));
        let pushed = stored.and_then(|is_cut| {
            self.numbers.counted.execs_cut += u64::from(is_cut);
            self.push(header, &record)
        });
        self.scratch = record;
        pushed
    }

    fn take_exit(&mut self, header: &Header, bytes: &[u8]) -> Result<(), DecodeError> {
        let exit: Exit = event::fixed(bytes)?;
        self.push(header, bytes)?;
        if let Some(session) = self.registry.get_mut(header.session) {
            if session.opened.leader.tgid == header.tgid && session.leader_ended_at.is_none() {
                session.leader_ended_at = Some(BootNs(header.at));
            }
            if exit.alive == 0 {
                self.last_process_ended(header.session, BootNs(header.at));
            }
        }
        Ok(())
    }

    fn push(&mut self, header: &Header, record: &[u8]) -> Result<(), DecodeError> {
        let mut serial = None;
        let mut look = false;
        if let Some(session) = self.registry.get_mut(header.session) {
            let certificate = session.opened.auth.certificate.as_ref();
            serial = certificate.and_then(|certificate| certificate.serial);
            look = self.budget.store(session, record.len() as u64);
        }
        let pushed = self.batch.push_event(header.session, serial, record);
        if look {
            self.look_at_budgets();
        }
        pushed
    }

    /// Finds the sessions that are over their budget.
    pub(super) fn look_at_budgets(&mut self) {
        let before = self.numbers.counted.sessions_over_budget;
        let over = self.budget.look(&mut self.registry);
        self.numbers.counted.sessions_over_budget = over;
        if over > before {
            tracing::warn!(
                sessions = over,
                "Sessions are over their byte budget: their argv is cut."
            );
        }
    }

    fn note_broken(&mut self, broken: &Broken) {
        let Some(error) = broken.error else { return };
        tracing::error!(%error, events = broken.events, "Records in the ring cannot be read.");
        let now = boot_now();
        // Their numbers never arrive either, and are told as missing from their session; this says
        // why, for whatever had no session that can be told.
        let session = broken.session.and_then(|mark| self.registry.get(mark));
        let session = session.map(|session| session.opened.id);
        self.gap(Gap {
            session,
            cause: GapCause::Undecodable,
            events: Some(broken.events),
            first_seq: None,
            last_seq: None,
            cpu: None,
            from: now,
            to: now,
        });
    }

    /// Finds out what the ring had no room for, once it is certain that it will not come.
    fn note_losses(&mut self, produced: &[(Mark, wire::SessionCounters)]) {
        let counters = self.probe.maps.host_counters();
        if counters.ring_full != self.counters.ring_full
            || counters.marks_full != self.counters.marks_full
        {
            self.counters = counters;
            self.settle = SETTLE;
            return;
        }
        self.counters = counters;
        match self.settle {
            0 => {}
            1 => {
                self.settle = 0;
                for (mark, counters) in produced {
                    self.tell_missing(*mark, counters);
                }
            }
            _ => self.settle -= 1,
        }
    }

    /// Writes a gap for each run of numbers of a session that did not arrive.
    pub(super) fn tell_missing(&mut self, mark: Mark, counters: &wire::SessionCounters) {
        let Some(session) = self.registry.get_mut(mark) else {
            return;
        };
        let id = session.opened.id;
        let now = boot_now();
        if counters.unmarked_forks > session.unmarked_forks {
            session.unmarked_forks = counters.unmarked_forks;
            let opened = &session.opened;
            let from = opened.marked_at.unwrap_or(opened.opened_at);
            self.gap(Gap {
                session: Some(id),
                cause: GapCause::MarksFull,
                events: None,
                first_seq: None,
                last_seq: None,
                cpu: None,
                from,
                to: now,
            });
        }
        let missing = self
            .sequences
            .entry(mark)
            .or_default()
            .give_up(counters.seq, now);
        for run in missing {
            self.gap(Gap {
                session: Some(id),
                cause: GapCause::RingFull,
                events: Some(run.events()),
                first_seq: Some(run.first_seq),
                last_seq: Some(run.last_seq),
                cpu: None,
                from: run.from,
                to: run.to,
            });
        }
    }
}
