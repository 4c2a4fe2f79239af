//! `--path`, `--exit`, `--failed`, `--root`: which events of programs an export sends.

use std::collections::HashMap;
use std::time::Duration;

use vctl_common::event::{EventKind, KernelEvent};
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use super::ecs::Record;
use super::ecs::session::SessionRecords;
use super::feed::Batch;
use super::numbers::NumberSet;
use crate::error::Stop;
use crate::session::centre::events::{EventReader, EventRow};
use crate::session::model::Event;
use crate::session::model::program_filter::{Ending, ProgramFilter};

/// The programs of one session while its events are read.
pub(super) struct Programs<'a> {
    filter: &'a ProgramFilter,
    /// Whether the last program of a process matches, without its end.
    running: HashMap<ProcessId, bool>,
    /// Time of the first event that was read.
    first: Option<BootNs>,
}

/// Longest time by which events of a session may be out of order.
const OUT_OF_ORDER: Duration = Duration::from_secs(1);

impl<'a> Programs<'a> {
    pub(super) fn new(filter: &'a ProgramFilter) -> Self {
        Self {
            filter,
            running: HashMap::new(),
            first: None,
        }
    }

    /// Adds the records of a row to the batch if its number is new and it matches.
    pub(super) async fn push(
        &mut self,
        reader: &EventReader<'_>,
        records: &SessionRecords<'_>,
        (seq, event): EventRow,
        sent: &mut NumberSet,
        batch: &mut Batch<Record>,
    ) -> Result<(), Stop> {
        if let Ok(event) = &event {
            self.first.get_or_insert(event.event.at);
            // Also for a row of an earlier batch: its exit may be new.
            if matches!(event.event.kind, EventKind::Exec(_)) {
                let is_start = self.is_start(&event.event);
                self.running.insert(event.event.process, is_start);
            }
        }
        if !sent.insert(seq) {
            return Ok(());
        }
        let event = match event {
            Ok(event) => event,
            Err(gap) => {
                batch.push(records.undecodable(seq, &gap));
                return Ok(());
            }
        };
        let ending = self.filter.ending;
        let is_match = match &event.event.kind {
            _ if self.filter.is_empty() => true,
            EventKind::CgroupMove(_) => true,
            // With a condition for the end, a program is sent together with its exit.
            EventKind::Exec(_) => ending.is_none() && self.is_start(&event.event),
            EventKind::ExecFailed { .. } => {
                !matches!(ending, Some(Ending::Code(_))) && self.is_start(&event.event)
            }
            EventKind::Exit(exit) => {
                let known = self.running.remove(&event.event.process);
                match (ending, known) {
                    _ if known.is_none() && self.has_only_forked(event.event.process) => false,
                    (Some(ending), _) if !ending.matches(exit.status) => false,
                    (_, Some(false)) => false,
                    (None, Some(true)) => true,
                    // The last batch may have had the start of the program.
                    (None, None) => self.program_of(reader, seq, &event).await?.is_some(),
                    (Some(_), _) => match self.program_of(reader, seq, &event).await? {
                        Some((seq, program)) => {
                            batch.push(records.event(seq, &program));
                            true
                        }
                        None => false,
                    },
                }
            }
        };
        if is_match {
            batch.push(records.event(seq, &event));
        } else {
            batch.skip();
        }
        Ok(())
    }

    /// Returns whether a process without a known program began after the first event that was read. Such a process, as
    /// a subshell, executed nothing. Without this, the search for its program would read the whole session.
    fn has_only_forked(&self, process: ProcessId) -> bool {
        let margin = u64::try_from(OUT_OF_ORDER.as_nanos()).unwrap_or(u64::MAX);
        self.first
            .is_some_and(|first| process.start.0 > first.0.saturating_add(margin))
    }

    /// Reads the program that ended, if it matches.
    async fn program_of(
        &self,
        reader: &EventReader<'_>,
        seq: u64,
        exit: &Event,
    ) -> Result<Option<(u64, Event)>, Stop> {
        let program = reader.last_exec(exit.event.process, seq).await?;
        Ok(program.filter(|(_, program)| self.is_start(&program.event)))
    }

    /// Returns whether the event is a program of the user with this path and user id, as in `vctl session`.
    fn is_start(&self, event: &KernelEvent) -> bool {
        event.phase.is_users() && self.filter.matches_start(event)
    }
}
