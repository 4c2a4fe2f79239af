//! Starts on a full disk.

use super::super::{Position, remember_shipped};
use super::faulty_disk::Faulty;
use super::*;

#[test]
fn a_full_disk_above_the_cap_stops_no_start() {
    let dir = tempdir();
    let (mut writer, _) = open(&SpoolConfig {
        segment_bytes: 10_000,
        ..config(dir.path())
    })
    .unwrap();
    for n in 1..=30 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=50);
            batch.push_journal(&closed(n, 50)).unwrap();
        });
    }
    drop(writer);
    let lower = SpoolConfig {
        segment_bytes: 10_000,
        cap_bytes: 50_000,
        ..config(dir.path())
    };
    let disk = Faulty::default();
    (disk.0.borrow_mut().from, disk.0.borrow_mut().to) = (1, u64::MAX);
    let (writer, _) = SpoolWriter::open_on(&lower, disk.clone()).unwrap();
    assert!(writer.stats().bytes > 50_000);
    drop(writer);
    let (writer, _) = SpoolWriter::open_on(&lower, Faulty::default()).unwrap();
    assert!(writer.stats().bytes <= 50_000);
}

#[test]
fn on_a_full_disk_a_start_drops_what_the_centre_has() {
    let dir = tempdir();
    let config = SpoolConfig {
        segment_bytes: 10_000,
        ..config(dir.path())
    };
    let (mut writer, _) = open(&config).unwrap();
    for n in 1..=10 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=100);
            if n > 1 {
                batch.push_journal(&closed(n, 100)).unwrap();
            }
        });
    }
    let all = writer.stats().segments;
    let after = SpoolConfig {
        boot_id: boot(2),
        ..config.clone()
    };
    let disk = Faulty::default();
    disk.0.borrow_mut().room_after_removals = 2;
    let remember = all_are_shipped(&config, writer);
    assert!(matches!(
        SpoolWriter::open_on(&after, disk.clone()),
        Err(SpoolError::Full { .. })
    ));
    remember();
    let (writer, recovered) = SpoolWriter::open_on(&after, disk).unwrap();
    assert_eq!(writer.stats().segments, all + 1 - 2);
    // The oldest segment holds an open session.
    assert_eq!(recovered.cut_off.len(), 1);
    assert_eq!(recovered.cut_off[0].stored, 100);
}

/// Ends the writer. The result remembers that the centre has all of its spool.
fn all_are_shipped<D: Disk>(config: &SpoolConfig, writer: SpoolWriter<D>) -> impl FnOnce() {
    let shipped = Position {
        segment: writer.active.files.number,
        offset: writer.active.end,
        check: 0,
    };
    let (dir, id) = (config.dir.clone(), writer.id());
    drop(writer);
    move || remember_shipped(&dir, id, shipped).unwrap()
}

/// Starts on a full disk that has room after one removal. Session 1 is open and in the oldest segment; each of the next
/// `chained` begins one segment before its end, and each of the next `whole` has a segment of its own. Returns the
/// sessions without an end.
fn unclosed_after_a_full_start(chained: u32, whole: u32) -> Vec<SessionId> {
    let dir = tempdir();
    let config = SpoolConfig {
        segment_bytes: 10_000,
        ..config(dir.path())
    };
    let (mut writer, _) = open(&config).unwrap();
    let last = 1 + chained;
    write(&mut writer, |batch| {
        for n in 1..=2 {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=100);
        }
    });
    for n in 2..=last {
        write(&mut writer, |batch| {
            push(batch, n, 101..=200);
            batch.push_journal(&closed(n, 200)).unwrap();
            if n < last {
                batch.push_journal(&opened(n + 1)).unwrap();
                push(batch, n + 1, 1..=100);
            }
        });
    }
    for n in last + 1..=last + whole {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=100);
            batch.push_journal(&closed(n, 100)).unwrap();
        });
    }
    let all = writer.stats().segments;
    all_are_shipped(&config, writer)();
    let after = SpoolConfig {
        boot_id: boot(2),
        ..config.clone()
    };
    let disk = Faulty::default();
    disk.0.borrow_mut().room_after_removals = 1;
    let (writer, _) = SpoolWriter::open_on(&after, disk).unwrap();
    // One went, and the one of this boot came.
    assert_eq!(writer.stats().segments, all);
    let reader = SpoolReader::open(&config.dir).unwrap();
    let sessions = reader.sessions(&Filter::All).unwrap().into_iter();
    let unclosed = sessions.filter(|session| session.closed.is_none());
    unclosed.map(|session| session.opened.id).collect()
}

#[test]
fn a_start_on_a_full_disk_keeps_the_ends_of_sessions() {
    assert_eq!(unclosed_after_a_full_start(1, 2), [session(1)]);
}

#[test]
fn a_start_on_a_full_disk_goes_before_an_end_that_is_shipped() {
    // Each segment has the end of a session that begins in the one before.
    let unclosed = unclosed_after_a_full_start(4, 0);
    assert_eq!(unclosed.len(), 2, "{unclosed:?}");
}
