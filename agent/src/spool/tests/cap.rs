use vctl_common::session::{Gap, GapCause};
use vctl_common::spool::MissingRange;

use super::*;

fn capped(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        cap_bytes: 100_000,
        segment_bytes: 10_000,
        ..config(dir)
    }
}

fn dropped(ranges: &[MissingRange]) -> u64 {
    let of_cap = ranges
        .iter()
        .filter(|range| range.cause == Some(GapCause::SpoolCap));
    of_cap.filter_map(|range| range.count).sum()
}

#[test]
fn closed_sessions_go_first_and_drops_are_counted() {
    let dir = tempdir();
    let config = capped(dir.path());
    let (mut writer, _) = open(&config).unwrap();
    // The oldest segment holds an open session.
    write(&mut writer, |batch| {
        batch.push_journal(&opened(0)).unwrap();
        push(batch, 0, 1..=50);
    });
    for n in 1..=200 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=40);
            batch.push_journal(&closed(n, 40)).unwrap();
        });
        assert!(writer.stats().bytes <= config.cap_bytes);
    }
    let (seqs, found) = read(dir.path(), 0).unwrap();
    assert_eq!((seqs.len(), found), (50, Completeness::StillOpen));

    let mut told = 0;
    let mut whole = 0;
    for n in 1..=200 {
        // Sessions long gone are forgotten at last; the rest is whole or says what it lacks.
        let Some((seqs, found)) = read(dir.path(), n) else {
            continue;
        };
        match found {
            Completeness::Complete => whole += 1,
            Completeness::Missing(ranges) => {
                assert_eq!(
                    seqs.len() as u64 + dropped(&ranges),
                    40,
                    "session {n}: {ranges:?}"
                );
                told += 1;
            }
            Completeness::StillOpen => panic!("session {n} was closed"),
        }
    }
    assert!(
        whole > 5 && told > 5,
        "{whole} whole, {told} dropped but known"
    );
    assert!(read(dir.path(), 200).unwrap().1 == Completeness::Complete);
    let stats = writer.stats();
    assert!(stats.events_dropped > 0 && stats.segments_dropped > 0);
    assert!(
        read(dir.path(), 10).is_none(),
        "tombstones are not kept for ever"
    );
}

#[test]
fn a_large_open_session_gives_way_and_keeps_its_name() {
    let dir = tempdir();
    let config = capped(dir.path());
    let (mut writer, _) = open(&config).unwrap();
    journal(&mut writer, &opened(1));
    journal(&mut writer, &opened(2));
    for round in 0..200 {
        write(&mut writer, |batch| {
            push(batch, 1, round * 10 + 1..=round * 10 + 10);
            if round % 10 == 0 {
                push(batch, 2, round / 5 + 1..=round / 5 + 2);
            }
        });
    }
    journal(&mut writer, &closed(1, 2000));
    journal(&mut writer, &closed(2, 40));
    let (seqs, found) = read(dir.path(), 1).unwrap();
    let Completeness::Missing(ranges) = found else {
        panic!("events were dropped")
    };
    assert_eq!(seqs.len() as u64 + dropped(&ranges), 2000);
    assert_eq!(*seqs.last().unwrap(), 2000, "the newest are kept");
    assert_eq!(read(dir.path(), 2).unwrap().1, Completeness::Complete);
    assert_eq!(writer.stats().events_stored, 2040);
}

/// A map of the kernel was full, and had room for the session's mark later.
#[test]
fn a_session_that_is_recorded_after_all_stays_open() {
    let dir = tempdir();
    let config = capped(dir.path());
    let (mut writer, _) = open(&config).unwrap();
    let JournalEntry::Closed(end) = closed(1, 0) else {
        unreachable!()
    };
    journal(&mut writer, &opened(1));
    journal(
        &mut writer,
        &JournalEntry::Closed(SessionClosed {
            reason: CloseReason::NeverRecorded,
            produced: None,
            ..end
        }),
    );
    journal(&mut writer, &opened(1));
    write(&mut writer, |batch| push(batch, 1, 1..=5));
    for n in 2..=200 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=40);
            batch.push_journal(&closed(n, 40)).unwrap();
        });
    }
    assert!(read(dir.path(), 2).is_none(), "its segment is dropped");
    drop(writer);
    let (_, recovered) = open(&config).unwrap();
    let open: Vec<SessionId> = recovered.open.iter().map(|one| one.opened.id).collect();
    assert_eq!(open, [session(1)]);
    let reader = SpoolReader::open(&config.dir).unwrap();
    let found = reader.sessions(&Filter::Id(session(1))).unwrap().remove(0);
    assert_eq!(found.closed, None);
}

#[test]
fn a_lower_cap_is_kept_from_the_next_start_on() {
    let dir = tempdir();
    let mut config = capped(dir.path());
    let (mut writer, _) = open(&config).unwrap();
    journal(&mut writer, &opened(1));
    for round in 0..60 {
        write(&mut writer, |batch| {
            push(batch, 1, round * 10 + 1..=round * 10 + 10);
        });
    }
    assert!(writer.stats().bytes > 50_000);
    drop(writer);
    config.cap_bytes = 40_000;
    let (writer, recovered) = open(&config).unwrap();
    assert!(writer.stats().bytes <= 40_000);
    assert_eq!(recovered.open.len(), 1);
    let (seqs, found) = read(dir.path(), 1).unwrap();
    assert_eq!(seqs.len() as u64 + missing(&found), 600);
}

/// A crash between recording the drop and doing it must not make present events look missing.
#[test]
fn a_gap_with_present_events_misses_nothing() {
    let dir = tempdir();
    let (mut writer, _) = open(&config(dir.path())).unwrap();
    write(&mut writer, |batch| {
        batch.push_journal(&opened(1)).unwrap();
        push(batch, 1, 1..=5);
    });
    let gap = Gap::new(GapCause::SpoolCap, session(1), BootNs(101), BootNs(105));
    let gap = JournalEntry::Gap(gap.with_events(5).with_numbers(1, 5));
    journal(&mut writer, &gap);
    journal(&mut writer, &closed(1, 5));
    assert_eq!(read(dir.path(), 1).unwrap().1, Completeness::Complete);
}
