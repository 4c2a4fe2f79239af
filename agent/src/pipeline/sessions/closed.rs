//! Sessions that have ended: a record that comes late belongs to its session, and opens no other one.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use tracing::{debug, warn};
use vctl_common::causes::WithCauses;
use vctl_common::id::CertSerial;
use vctl_common::session::SessionOpened;
use vctl_common::spool::SpoolReader;
use vctl_common::wire::Mark;

/// Remembered sessions. One that is older is looked up in the spool.
const REMEMBERED: usize = 4096;

/// The marks of ended sessions, with the serials of their certificates.
#[derive(Debug)]
pub(super) struct ClosedSessions {
    spool: PathBuf,
    serials: HashMap<Mark, Option<CertSerial>>,
    oldest_first: VecDeque<Mark>,
}

impl ClosedSessions {
    /// The sessions of earlier collectors are in the spool.
    pub(super) fn of_spool(spool: &Path) -> Self {
        Self {
            spool: spool.to_owned(),
            serials: HashMap::new(),
            oldest_first: VecDeque::new(),
        }
    }

    pub(super) fn remember(&mut self, opened: &SessionOpened) {
        let mark = opened.id.mark();
        let certificate = opened.auth.certificate.as_ref();
        let serial = certificate.and_then(|certificate| certificate.serial);
        if self.serials.insert(mark, serial).is_none() {
            self.oldest_first.push_back(mark);
        }
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.serials.remove(&oldest);
        }
    }

    /// Returns the serial for a record of an ended session.
    pub(super) fn serial(&self, mark: Mark) -> Option<CertSerial> {
        self.serials.get(&mark).copied().flatten()
    }

    /// Returns whether the mark is that of a session that has ended. An unknown mark is looked up in the spool, which
    /// is slow and happens once for each session.
    pub(super) fn has(&mut self, mark: Mark) -> bool {
        if self.serials.contains_key(&mark) {
            return true;
        }
        let found = SpoolReader::open(&self.spool).and_then(|spool| spool.sessions_of(vec![mark]));
        let found = found.unwrap_or_else(|error| {
            warn!(error = %WithCauses(&error), "The spool cannot be searched for a session.");
            Vec::new()
        });
        let Some(known) = found.iter().find(|known| known.closed.is_some()) else {
            return false;
        };
        debug!(session = %known.opened.id, "A record came after the end of its session.");
        self.remember(&known.opened);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{BatchBuilder, SpoolConfig, SpoolWriter};
    use vctl_common::id::{BootId, SessionId};
    use vctl_common::session::{CloseReason, JournalEntry, SessionClosed};
    use vctl_common::time::{BootNs, WallOffset};

    #[test]
    fn an_ended_session_is_known_until_many_others_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut closed = ClosedSessions::of_spool(dir.path());
        let ended = || SessionOpened::unknown(SessionId::generate(), BootNs(1));
        let first = ended();
        closed.remember(&first);
        closed.remember(&first);
        assert!(closed.has(first.id.mark()) && !closed.has(ended().id.mark()));
        for _ in 0..REMEMBERED {
            closed.remember(&ended());
        }
        assert!(!closed.has(first.id.mark()));
        assert_eq!(closed.serials.len(), REMEMBERED);
    }

    #[test]
    fn a_session_that_an_earlier_agent_closed_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = SpoolWriter::open(&SpoolConfig {
            dir: dir.path().to_owned(),
            cap_bytes: 1 << 20,
            segment_bytes: 1 << 18,
            host: "web-1".to_owned(),
            boot_id: BootId::from_uuid(uuid::Uuid::from_u128(1)),
        })
        .unwrap();
        let opened = |id| SessionOpened::unknown(id, BootNs(1));
        let id = SessionId::generate();
        let named = SessionOpened {
            login_user: "deploy".to_owned(),
            ..opened(id)
        };
        let end = SessionClosed {
            id,
            at: BootNs(5),
            reason: CloseReason::LastProcessEnded,
            produced: None,
            stored: 0,
            leader_ended_at: None,
            requested: None,
        };
        let nameless = opened(SessionId::from_mark(id.mark()));
        let mut batch = BatchBuilder::new();
        for entry in [
            JournalEntry::Opened(Box::new(named.clone())),
            JournalEntry::Closed(end),
            // Of an older agent, which did not remember the session.
            JournalEntry::Opened(Box::new(nameless)),
        ] {
            batch.push_journal(&entry).unwrap();
        }
        let wall = WallOffset::from_ns(0);
        spool.commit(&mut batch, None, wall).unwrap();
        let found = SpoolReader::open(dir.path()).unwrap();
        let found = found.sessions_of(vec![id.mark()]).unwrap();
        assert_eq!(found[0].opened, named);
        assert!(ClosedSessions::of_spool(dir.path()).has(id.mark()));
    }
}
