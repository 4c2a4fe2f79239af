//! Makes room at the expense of the largest session: its segment goes, the others' events stay.
//!
//! Nothing is rewritten in place, so a place in the spool keeps its meaning: what stays is appended
//! to the live segment, in one batch with the gap of what goes, and only then is the old segment
//! removed. What was shipped is not copied: the centre has it.

use std::collections::{HashMap, HashSet};

use vctl_common::spool::{BlockEntry, BlockKind, Look, Segment, SegmentFiles, SpoolReader};
use vctl_common::wire::Mark;

use super::disk::Disk;
use super::error::SpoolError;
use super::heavy::{Choice, choose};
use super::owner::Owner;
use super::writer::SpoolWriter;

impl<D: Disk> SpoolWriter<D> {
    /// Drops the oldest segment that is the largest session's for the larger part, and keeps what
    /// it holds of others. Returns whether it did: not where a segment can go without a loss.
    pub(super) fn trim_largest(&mut self) -> Result<bool, SpoolError> {
        if self.sealed.iter().any(|sealed| self.is_shipped(sealed)) {
            return Ok(false);
        }
        // Older than every event: words of sessions of which nothing else is left.
        if self
            .sealed
            .first()
            .is_some_and(|s| s.with_events.is_empty())
        {
            self.drop_nth(0, None)?;
            return Ok(true);
        }
        self.learn_owners()?;
        let segments: Vec<_> = self
            .sealed
            .iter()
            .map(|s| s.with_events.as_slice())
            .collect();
        let active: Vec<_> = self
            .active
            .with_events
            .iter()
            .map(|(m, b)| (*m, *b))
            .collect();
        let owner = |mark| self.owners.get(&mark).cloned();
        let owner = |mark| owner(mark).unwrap_or_else(|| Owner::unknown(mark));
        let Some(Choice { segment, sessions }) =
            choose(&segments, &active, owner, self.config.cap_bytes)
        else {
            return Ok(false);
        };
        // What is copied must not make the live segment grow without end.
        if self.active.end > self.config.segment_bytes {
            self.begin_segment()?;
        }
        self.drop_nth(segment, Some(&sessions))?;
        Ok(true)
    }

    /// Looks up whose the sessions are that were there when the spool was opened.
    fn learn_owners(&mut self) -> Result<(), SpoolError> {
        let here: HashSet<Mark> = self.bytes_by_session().into_keys().collect();
        self.owners.retain(|mark, _| here.contains(mark));
        let unknown = here.into_iter().filter(|m| !self.owners.contains_key(m));
        let unknown: Vec<Mark> = unknown.collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for session in SpoolReader::open(&self.config.dir)?.sessions_of(unknown.clone())? {
            let owner = Owner::of(&session.opened);
            self.owners.insert(session.opened.id.mark(), owner);
        }
        for mark in unknown {
            // So that it is not looked up again.
            self.owners
                .entry(mark)
                .or_insert_with(|| Owner::unknown(mark));
        }
        Ok(())
    }

    /// Returns how many bytes of events the spool holds, by session.
    pub fn bytes_by_session(&self) -> HashMap<Mark, u64> {
        let mut bytes: HashMap<Mark, u64> = self.active.with_events.clone();
        for (mark, more) in self.sealed.iter().flat_map(|sealed| &sealed.with_events) {
            *bytes.entry(*mark).or_default() += more;
        }
        bytes
    }
}

/// Finds the segment that an interrupted trim left: the newest batch repeats its events, and nothing
/// was left to do but to remove it.
pub(super) fn superseded(
    newest: &Segment,
    earlier: &[SegmentFiles],
) -> Result<Option<usize>, SpoolError> {
    let entries = newest.entries();
    let begin = entries.iter().rposition(|entry| entry.nth() == 0);
    let last_batch = &entries[begin.unwrap_or(0)..];
    let is_copy = |entry: &&BlockEntry| entry.kind() == Some(BlockKind::CarriedEvents);
    let Some(copy) = last_batch.iter().find(is_copy) else {
        return Ok(None);
    };
    let mut buffer = Vec::new();
    for (nth, files) in earlier.iter().enumerate() {
        if let Ok(segment) = Segment::load(files, Look::Index, std::mem::take(&mut buffer))? {
            if segment.entries().iter().any(|entry| entry.is_copy_of(copy)) {
                return Ok(Some(nth));
            }
            buffer = segment.into_buffer();
        }
    }
    Ok(None)
}
