//! What a new collector does with the sessions an earlier one left open.

use tracing::{info, warn};
use vctl_common::id::{ProcessId, SessionId};
use vctl_common::session::{
    Auth, CloseReason, JournalEntry, Origin, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

use crate::loss::Sequence;
use crate::session::boot_now;
use crate::spool::{OpenSession, Recovered};

use super::collector::Collector;
use super::held::has_not_begun;

impl Collector {
    pub(super) fn recover(&mut self, recovered: Recovered) {
        if recovered.truncated_bytes > 0 {
            info!(
                bytes = recovered.truncated_bytes,
                "Took an unfinished batch off the spool: its events are still in the ring."
            );
        }
        for gap in recovered.damage {
            // Readers find it by themselves, with every look at the segment.
            warn!(
                events = gap.events,
                "A part of the spool cannot be read any more."
            );
        }
        for session in recovered.cut_off {
            self.journal(JournalEntry::Closed(SessionClosed {
                id: session.opened.id,
                at: session.last_at.unwrap_or(session.opened.opened_at),
                reason: CloseReason::HostRebooted,
                produced: None,
                stored: session.stored,
                leader_ended_at: None,
            }));
        }
        for session in recovered.open {
            self.resume(session);
        }
    }

    /// Goes on with a session of this boot.
    fn resume(&mut self, session: OpenSession) {
        let mark = session.opened.id.mark();
        let last_at = session.last_at.unwrap_or(session.opened.opened_at);
        let kernel = self.probe.maps.session(mark);
        let leader = self.probe.maps.task(session.opened.leader.tgid);
        let not_begun = has_not_begun(&session, kernel, leader);
        let told = session.gaps.iter().filter(|gap| gap.session.is_some());
        let told_to = told.filter_map(|gap| gap.last_seq).max().unwrap_or(0);
        self.registry.open(session.opened);
        self.registry.add_stored(mark, session.stored);
        if not_begun {
            // Its login may still be held, and its hook ask again.
            self.held.insert(mark);
        } else if kernel.is_some() {
            let last_seq = session.last_seq.max(told_to);
            self.sequences
                .insert(mark, Sequence::after(last_seq, last_at));
            self.watch_failed_execs();
        } else {
            // The probe is not the one that recorded it: everything since is unknown.
            self.record_again(mark, last_at, CloseReason::ProbeDetached);
        }
    }
}

/// Returns what can be said of a session of which only the mark is known.
pub(super) fn unknown_session(mark: Mark) -> SessionOpened {
    let now = boot_now();
    SessionOpened {
        id: SessionId::from_mark(mark),
        origin: Origin::Login,
        login_user: String::new(),
        service: String::new(),
        auth: Auth {
            problem: Some("the spool that knew this session is gone".to_owned()),
            ..Auth::default()
        },
        source_ip: None,
        source_port: None,
        remote_host: None,
        tty: None,
        leader: ProcessId {
            tgid: 0,
            start: BootNs(0),
        },
        login_uid: None,
        audit_session: None,
        cgroup: None,
        opened_at: now,
        marked_at: Some(now),
        stamp: Stamp::Late,
    }
}
