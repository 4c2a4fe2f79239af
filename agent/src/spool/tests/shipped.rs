//! What was shipped goes first, and takes nothing with it.

use std::time::Duration;

use vctl_common::session::GapCause;

use super::*;
use crate::spool::{Durable, Position};

fn small(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        cap_bytes: 256 << 10,
        segment_bytes: 64 << 10,
        ..config(dir)
    }
}

fn all_of(writer: &SpoolWriter<Unsynced>) -> Position {
    let Durable { segment, end } = *writer.durable().borrow();
    Position {
        segment,
        offset: end,
        check: 0,
    }
}

#[test]
fn at_the_cap_what_is_shipped_goes_without_a_gap() {
    let dir = tempdir();
    let (mut writer, _) = open(&small(dir.path())).unwrap();
    for n in 0..40 {
        fill(&mut writer, n);
        writer.note_shipped(all_of(&writer));
    }
    let stats = writer.stats();
    assert!(stats.segments_dropped > 0, "{stats:?}");
    assert_eq!((stats.events_dropped, stats.unshipped_bytes), (0, 0));
    let reader = SpoolReader::open(&small(dir.path()).dir).unwrap();
    let sessions = reader.sessions(&Filter::All).unwrap();
    assert!(sessions.len() < 40);
    for session in sessions {
        let gaps = session.gaps.iter();
        assert!(
            gaps.map(|gap| gap.cause)
                .all(|cause| cause == GapCause::Shipped)
        );
    }
}

#[test]
fn what_is_not_shipped_stays_while_something_shipped_can_go() {
    let dir = tempdir();
    let (mut writer, _) = open(&small(dir.path())).unwrap();
    fill(&mut writer, 0);
    fill(&mut writer, 1);
    let shipped = all_of(&writer);
    writer.note_shipped(shipped);
    let mut n = 2;
    while writer.stats().segments_dropped == 0 {
        fill(&mut writer, n);
        n += 1;
    }
    drop(writer);
    for unshipped in 2..n {
        let (events, _) = read(dir.path(), unshipped).unwrap();
        assert_eq!(events, (1..=500).collect::<Vec<_>>(), "session {unshipped}");
    }
}

#[test]
fn shipped_sessions_expire_and_open_ones_stay() {
    let dir = tempdir();
    let config = SpoolConfig {
        cap_bytes: 1 << 30,
        ..small(dir.path())
    };
    let (mut writer, _) = open(&config).unwrap();
    for n in 0..10 {
        fill(&mut writer, n);
    }
    let segments = writer.stats().segments;
    assert!(segments > 3);
    let later = wall().wall_time(BootNs(u64::MAX / 4));
    writer.drop_expired(later).unwrap();
    assert_eq!(writer.stats().segments, segments, "nothing was shipped");
    writer.note_shipped(all_of(&writer));
    writer
        .drop_expired(wall().wall_time(BootNs(0)) - Duration::from_secs(1))
        .unwrap();
    assert_eq!(writer.stats().segments, segments, "it is not time yet");
    writer.drop_expired(later).unwrap();
    assert_eq!(writer.stats().segments, 1);
    assert_eq!(writer.stats().events_dropped, 0);
}

/// One session of some 40 KiB, from its beginning to its end.
fn fill(writer: &mut SpoolWriter<Unsynced>, n: u32) {
    write(writer, |batch| {
        batch.push_journal(&opened(n)).unwrap();
        push(batch, n, 1..=500);
        batch.push_journal(&closed(n, 500)).unwrap();
    });
    writer.sync().unwrap();
}
