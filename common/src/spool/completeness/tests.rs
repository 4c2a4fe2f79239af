use std::time::SystemTime;

use super::*;
use crate::event::{Attribution, EventKind, ExitEvent, ExitStatus, KernelEvent, Phase};
use crate::id::{BootId, ProcessId, SessionId};
use crate::session::{CloseReason, SessionClosed, SessionOpened};
use crate::spool::StoredEvent;
use crate::time::WallOffset;

fn id() -> SessionId {
    "01970000-0000-7000-8000-000000000001".parse().unwrap()
}

/// A session from 10 to 1000; the event with number `n` is at `n * 10`.
pub(super) fn session() -> SessionRecord {
    let process = ProcessId {
        tgid: 1,
        start: BootNs(1),
    };
    SessionRecord {
        opened: SessionOpened {
            login_user: "deploy".to_owned(),
            service: "sshd".to_owned(),
            leader: process,
            stamp: Stamp::InTime,
            marked_at: Some(BootNs(5)),
            ..SessionOpened::unknown(id(), BootNs(4))
        },
        closed: None,
        gaps: Vec::new(),
        boot_id: "00000000-0000-4000-8000-000000000001"
            .parse::<BootId>()
            .unwrap(),
        host: "web-1".to_owned(),
        wall: WallOffset::from_ns(0),
        closed_wall: None,
        stored: 0,
        last_seq: 0,
        last_at: None,
        segments: Vec::new(),
    }
}

pub(super) fn closed(produced: impl Into<Option<u64>>) -> SessionRecord {
    let closed = SessionClosed {
        id: id(),
        at: BootNs(1000),
        reason: CloseReason::LastProcessEnded,
        produced: produced.into(),
        // A wrong counter must not matter.
        stored: 77,
        leader_ended_at: None,
        requested: None,
    };
    SessionRecord {
        closed: Some(closed),
        ..session()
    }
}

pub(super) fn timeline(seqs: impl IntoIterator<Item = u64>) -> Timeline {
    let process = ProcessId {
        tgid: 1,
        start: BootNs(1),
    };
    let events = seqs.into_iter().map(|session_seq| StoredEvent {
        wall: SystemTime::UNIX_EPOCH,
        event: KernelEvent {
            process,
            session_seq,
            cpu: 0,
            cpu_seq: session_seq,
            at: BootNs(session_seq * 10),
            attribution: Attribution::Lineage,
            phase: Phase::User,
            kind: EventKind::Exit(ExitEvent {
                parent: process,
                status: ExitStatus::Code(0),
                euid: 0,
                alive: 1,
            }),
        },
    });
    Timeline {
        events: events.collect(),
        damaged: Vec::new(),
    }
}

pub(super) fn gap(cause: GapCause, events: impl Into<Option<u64>>, from: u64, to: u64) -> Gap {
    Gap::new(cause, id(), BootNs(from), BootNs(to)).with_events(events)
}

pub(super) fn numbered(cause: GapCause, first: u64, last: u64) -> Gap {
    gap(cause, last - first + 1, first * 10, last * 10).with_numbers(first, last)
}

fn range(
    count: impl Into<Option<u64>>,
    from: u64,
    to: u64,
    cause: impl Into<Option<GapCause>>,
) -> MissingRange {
    MissingRange {
        count: count.into(),
        from: BootNs(from),
        to: BootNs(to),
        cause: cause.into(),
    }
}

#[test]
fn all_numbers_up_to_the_last_are_complete() {
    assert_eq!(
        completeness(&closed(4), &timeline(1..=4)),
        Completeness::Complete
    );
    assert_eq!(
        completeness(&closed(0), &timeline([])),
        Completeness::Complete
    );
    assert_eq!(
        completeness(&session(), &timeline(1..=4)),
        Completeness::StillOpen
    );
}

#[test]
fn a_missing_number_counts_without_a_recorded_gap() {
    let found = completeness(&closed(9), &timeline([2, 3, 6]));
    let expected = vec![
        range(1, 5, 20, None),
        range(2, 30, 60, None),
        range(3, 60, 1000, None),
    ];
    assert_eq!(found, Completeness::Missing(expected));
    let found = completeness(&session(), &timeline([1, 3]));
    assert_eq!(found, Completeness::Missing(vec![range(1, 10, 30, None)]));
}

#[test]
fn a_recorded_gap_explains_a_hole_and_adds_nothing_to_it() {
    let mut session = closed(9);
    session.gaps = vec![gap(GapCause::RingFull, 2, 35, 55)];
    let found = completeness(&session, &timeline([1, 2, 3, 6, 7, 8, 9]));
    let expected = vec![range(2, 30, 60, GapCause::RingFull)];
    assert_eq!(found, Completeness::Missing(expected));
}

#[test]
fn a_hole_is_split_where_its_causes_are_known() {
    let mut session = closed(9);
    session.gaps = vec![
        numbered(GapCause::SpoolCap, 3, 4),
        numbered(GapCause::SpoolCap, 4, 5),
        numbered(GapCause::SpoolDamaged, 7, 7),
    ];
    let found = completeness(&session, &timeline([1, 9]));
    let Completeness::Missing(ranges) = found else {
        panic!("seven are missing")
    };
    let counts: Vec<_> = ranges
        .iter()
        .map(|range| (range.count, range.cause))
        .collect();
    assert_eq!(
        counts.iter().filter_map(|(count, _)| *count).sum::<u64>(),
        7
    );
    assert!(
        counts.contains(&(Some(3), Some(GapCause::SpoolCap))),
        "{counts:?}"
    );
    assert!(
        counts.contains(&(Some(1), Some(GapCause::SpoolDamaged))),
        "{counts:?}"
    );
}

#[test]
fn a_late_stamp_is_never_complete() {
    let mut late = closed(2);
    late.opened.stamp = Stamp::Late;
    late.gaps = vec![gap(GapCause::StampedLate, None, 4, 5)];
    let expected = vec![range(None, 4, 5, GapCause::StampedLate)];
    assert_eq!(
        completeness(&late, &timeline(1..=2)),
        Completeness::Missing(expected)
    );
}

#[test]
fn a_late_stamp_is_missing_until_the_processes_have_their_marks() {
    let mut late = closed(2);
    late.opened.stamp = Stamp::Late;
    late.gaps = vec![
        gap(GapCause::StampedLate, None, 4, 5),
        gap(GapCause::StampedLate, None, 5, 7),
        // The next agent found a process without a mark.
        gap(GapCause::StampedLate, None, 20, 30),
    ];
    let expected = vec![
        range(None, 4, 7, GapCause::StampedLate),
        range(None, 20, 30, GapCause::StampedLate),
    ];
    assert_eq!(
        completeness(&late, &timeline(1..=2)),
        Completeness::Missing(expected)
    );
}

#[test]
fn unnumbered_losses_count_although_all_numbers_are_stored() {
    for cause in [
        GapCause::ProbeSkipped,
        GapCause::MarksFull,
        GapCause::ProbeAway,
    ] {
        let mut session = closed(3);
        session.gaps = vec![gap(cause, 4, 20, 30)];
        let expected = vec![range(4, 20, 30, cause)];
        let found = completeness(&session, &timeline(1..=3));
        assert_eq!(found, Completeness::Missing(expected));
    }
}

#[test]
fn a_gap_without_session_counts_unless_numbers_disprove_it() {
    let without_session = |cause| Gap {
        session: None,
        ..gap(cause, 40, 20, 30)
    };
    let mut session = closed(3);
    session.gaps = vec![without_session(GapCause::Undecodable)];
    assert_eq!(
        completeness(&session, &timeline(1..=3)),
        Completeness::Complete
    );
    // Its forty events are not all of this session.
    session.gaps = vec![without_session(GapCause::ProbeAway)];
    let expected = vec![range(None, 20, 30, GapCause::ProbeAway)];
    assert_eq!(
        completeness(&session, &timeline(1..=3)),
        Completeness::Missing(expected)
    );
    // Damage may hide a journal entry, which has no number.
    session.gaps = vec![without_session(GapCause::SpoolDamaged)];
    assert!(matches!(
        completeness(&session, &timeline(1..=3)),
        Completeness::Missing(_)
    ));
}

#[test]
fn events_lost_at_the_end_of_an_open_session_are_missing() {
    let mut session = session();
    session.gaps = vec![gap(GapCause::RingFull, 5, 40, 50)];
    let expected = vec![range(5, 40, 50, GapCause::RingFull)];
    assert_eq!(
        completeness(&session, &timeline(1..=3)),
        Completeness::Missing(expected)
    );
}

#[test]
fn without_the_kernels_count_the_end_of_a_session_is_unknown() {
    let expected = vec![range(None, 30, 1000, None)];
    assert_eq!(
        completeness(&closed(None), &timeline(1..=3)),
        Completeness::Missing(expected)
    );
}

#[test]
fn numbers_of_any_size_are_counted_without_overflow() {
    let mut session = closed(u64::MAX);
    session.gaps = vec![numbered(GapCause::SpoolCap, 2, u64::MAX / 20)];
    assert!(matches!(
        completeness(&session, &timeline([1])),
        Completeness::Missing(_)
    ));
}
