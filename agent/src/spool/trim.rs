//! Makes room by dropping events of the largest session; events of other sessions in the segment stay.
//!
//! Nothing is rewritten in place, so a position in the spool keeps its meaning. The events that stay are
//! appended to the active segment, in one batch with the gap of the dropped ones; only then is the old segment
//! removed. Shipped events are not copied: the centre has them.

use std::collections::{HashMap, HashSet};

use vctl_common::spool::SpoolReader;
use vctl_common::wire::Mark;

use super::disk::Disk;
use super::error::SpoolError;
use super::heavy::{Choice, choose};
use super::owner::Owner;
use super::writer::SpoolWriter;

impl<D: Disk> SpoolWriter<D> {
    /// Drops the oldest segment of which the larger part belongs to the largest session, and copies the rest.
    /// Returns false, and does nothing, when a segment can go without a loss.
    pub(super) fn trim_largest(&mut self) -> Result<bool, SpoolError> {
        if self.sealed.iter().any(|sealed| self.is_shipped(sealed)) {
            return Ok(false);
        }
        // Older than every event: journals of sessions without any events left.
        if self
            .sealed
            .first()
            .is_some_and(|s| s.with_events.is_empty())
        {
            self.drop_nth(0, None)?;
            return Ok(true);
        }
        self.learn_owners()?;
        let segments: Vec<_> = self.sealed.iter().map(|s| s.shares.as_slice()).collect();
        let active: Vec<_> = self.active.shares().into_iter().collect();
        let owner = |mark| self.owners.get(&mark).cloned();
        let owner = |mark| owner(mark).unwrap_or_else(|| Owner::unknown(mark));
        let Some(Choice { segment, sessions }) =
            choose(&segments, &active, owner, self.config.cap_bytes)
        else {
            return Ok(false);
        };
        // Copies must not make the active segment grow without end.
        if self.active.is_full(0, self.config.segment_bytes) {
            self.begin_segment()?;
        }
        self.drop_nth(segment, Some(&sessions))?;
        Ok(true)
    }

    /// Looks up the owners of the sessions that were there when the spool was opened.
    fn learn_owners(&mut self) -> Result<(), SpoolError> {
        let here: HashSet<Mark> = self.bytes_by_session().into_keys().collect();
        self.owners.retain(|mark, _| here.contains(mark));
        let unknown = here.into_iter().filter(|m| !self.owners.contains_key(m));
        let unknown: Vec<Mark> = unknown.collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let reader = SpoolReader::open(&self.config.dir)?.shortened();
        for session in reader.sessions_of(unknown.clone())? {
            let owner = Owner::of(&session.opened);
            self.owners.insert(session.opened.id.mark(), owner);
        }
        for mark in unknown {
            // Entered, so that it is not looked up again.
            self.owners
                .entry(mark)
                .or_insert_with(|| Owner::unknown(mark));
        }
        Ok(())
    }

    /// Returns the bytes of events and journal entries in the spool, by session, without the heads of segments.
    pub fn bytes_by_session(&self) -> HashMap<Mark, u64> {
        let mut bytes: HashMap<Mark, u64> = self.active.shares();
        for (mark, more) in self.sealed.iter().flat_map(|sealed| &sealed.shares) {
            *bytes.entry(*mark).or_default() += more;
        }
        bytes
    }
}
