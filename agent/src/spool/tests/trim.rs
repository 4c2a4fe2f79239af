//! A session that floods the spool makes room out of its own events, and of no other's.

use vctl_common::session::GapCause;
use vctl_common::spool::{Followed, Follower, Listing, list};

use super::*;

fn capped(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        cap_bytes: 200_000,
        segment_bytes: 10_000,
        ..config(dir)
    }
}

/// Writes `count` events of the flooding session 1 and, now and then, one of session 2.
fn flood(writer: &mut SpoolWriter<Unsynced>, rounds: std::ops::Range<u64>) {
    for round in rounds {
        write(writer, |batch| {
            push(batch, 1, round * 50 + 1..=round * 50 + 50);
            if round % 10 == 0 {
                push(batch, 2, [round / 10 + 1]);
            }
        });
        assert!(writer.stats().bytes <= 200_000);
    }
}

fn opened_by(n: u32, login_uid: u32) -> JournalEntry {
    let JournalEntry::Opened(mut entry) = opened(n) else {
        unreachable!()
    };
    entry.login_uid = Some(login_uid);
    JournalEntry::Opened(entry)
}

#[test]
fn a_flood_takes_nothing_from_another_session() {
    let dir = tempdir();
    let (mut writer, _) = open(&capped(dir.path())).unwrap();
    // Over before the flood, and oldest.
    write(&mut writer, |batch| {
        batch.push_journal(&opened(3)).unwrap();
        push(batch, 3, 1..=100);
        batch.push_journal(&closed(3, 100)).unwrap();
    });
    journal(&mut writer, &opened(1));
    journal(&mut writer, &opened(2));
    flood(&mut writer, 0..300);
    journal(&mut writer, &closed(2, 30));
    journal(&mut writer, &closed(1, 15_000));
    for (n, count) in [(2, 30), (3, 100)] {
        let (seqs, found) = read(dir.path(), n).unwrap();
        assert_eq!((seqs.len(), found), (count, Completeness::Complete), "{n}");
    }
    let (seqs, found) = read(dir.path(), 1).unwrap();
    let Completeness::Missing(ranges) = found else {
        panic!("the flood was dropped")
    };
    assert_eq!(
        seqs.len() as u64 + ranges.iter().filter_map(|h| h.count).sum::<u64>(),
        15_000
    );
    assert!(
        ranges
            .iter()
            .all(|range| range.cause == Some(GapCause::SpoolCap))
    );
    assert_eq!(*seqs.last().unwrap(), 15_000, "the newest are kept");
    assert_eq!(
        writer.stats().events_stored,
        15_130,
        "a copy is not stored anew"
    );
}

#[test]
fn many_sessions_of_an_account_spare_other_accounts() {
    let dir = tempdir();
    let (mut writer, _) = open(&capped(dir.path())).unwrap();
    write(&mut writer, |batch| {
        batch.push_journal(&opened_by(500, 1001)).unwrap();
        push(batch, 500, 1..=200);
        batch.push_journal(&closed(500, 200)).unwrap();
    });
    for n in 1..=400 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened_by(n, 1000)).unwrap();
            push(batch, n, 1..=40);
            batch.push_journal(&closed(n, 40)).unwrap();
        });
    }
    assert!(writer.stats().events_dropped > 0);
    let (seqs, found) = read(dir.path(), 500).unwrap();
    assert_eq!((seqs.len(), found), (200, Completeness::Complete));
}

#[test]
fn a_restart_in_a_flood_forgets_no_owner() {
    let dir = tempdir();
    let mut config = capped(dir.path());
    let (mut writer, _) = open(&config).unwrap();
    write(&mut writer, |batch| {
        batch.push_journal(&opened(1)).unwrap();
        batch.push_journal(&opened(2)).unwrap();
    });
    flood(&mut writer, 0..60);
    drop(writer);
    config.boot_id = boot(2);
    let (mut writer, recovered) = open(&config).unwrap();
    assert_eq!(recovered.cut_off.len(), 2);
    flood(&mut writer, 60..200);
    let (seqs, _) = read(dir.path(), 2).unwrap();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
}

#[test]
fn an_interrupted_trim_leaves_nothing_twice() {
    let dir = tempdir();
    let config = capped(dir.path());
    let (mut writer, _) = open(&config).unwrap();
    journal(&mut writer, &opened(1));
    journal(&mut writer, &opened(2));
    let segments = |dir: &Path| {
        let Listing { segments, .. } = list(&dir.join("spool")).unwrap();
        segments
    };
    let before = tempdir();
    let mut round = 0;
    // Until a segment with events of session 2 has just been trimmed.
    let victim = loop {
        let (dropped, here) = (writer.stats().segments_dropped, segments(dir.path()));
        for files in &here {
            let name = files.segment.file_name().unwrap();
            std::fs::copy(&files.segment, before.path().join(name)).unwrap();
        }
        flood(&mut writer, round..round + 1);
        round += 1;
        if writer.stats().segments_dropped > dropped {
            let now = segments(dir.path());
            break here
                .into_iter()
                .find(|f| now.iter().all(|n| n.number != f.number))
                .unwrap();
        }
    };
    let (seqs, _) = read(dir.path(), 2).unwrap();
    drop(writer);
    // The crash: copied and synced, not yet removed. The batch behind it was never written.
    let newest = segments(dir.path()).pop().unwrap();
    let loaded =
        vctl_common::spool::Segment::load(&newest, vctl_common::spool::Look::Tables, Vec::new());
    let loaded = loaded.unwrap().unwrap();
    let last = loaded
        .entries()
        .iter()
        .filter_map(vctl_common::spool::BlockEntry::batch_at)
        .max()
        .unwrap();
    std::fs::File::options()
        .write(true)
        .open(&newest.segment)
        .unwrap()
        .set_len(last)
        .unwrap();
    std::fs::remove_file(&newest.index).unwrap();
    let name = victim.segment.file_name().unwrap();
    std::fs::copy(before.path().join(name), &victim.segment).unwrap();
    let record = |dir: &Path| {
        let reader = SpoolReader::open(&dir.join("spool")).unwrap();
        reader
            .sessions(&Filter::Id(session(2)))
            .unwrap()
            .pop()
            .unwrap()
    };
    let doubled = record(dir.path()).stored;
    let (writer, _) = open(&config).unwrap();
    drop(writer);
    assert!(!victim.segment.exists(), "the trim was not finished");
    assert!(
        record(dir.path()).stored < doubled,
        "the spec proves nothing"
    );
    assert_eq!(read(dir.path(), 2).unwrap().0, seqs[..seqs.len()]);
}

#[test]
fn a_follower_is_told_no_event_twice() {
    let dir = tempdir();
    let (mut writer, _) = open(&capped(dir.path())).unwrap();
    journal(&mut writer, &opened(1));
    journal(&mut writer, &opened(2));
    let reader = SpoolReader::open(&dir.path().join("spool")).unwrap();
    let mut follower = Follower::new(&reader, Filter::Id(session(2))).unwrap();
    let mut told = Vec::new();
    for round in 0..200 {
        flood(&mut writer, round..round + 1);
        told.extend(
            follower
                .poll()
                .unwrap()
                .into_iter()
                .filter_map(|news| match news {
                    Followed::Event { stored, .. } => Some(stored.event.session_seq),
                    _ => None,
                }),
        );
    }
    assert!(writer.stats().segments_dropped > 0);
    assert_eq!(told, (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_session_whose_end_was_dropped_is_not_open() {
    let dir = tempdir();
    let config = SpoolConfig {
        cap_bytes: 100_000,
        ..capped(dir.path())
    };
    let (mut writer, _) = open(&config).unwrap();
    // Its events, its end, and the copied journal with its person lie in three segments.
    write(&mut writer, |batch| {
        batch.push_journal(&opened(1)).unwrap();
        push(batch, 1, 1..=100);
    });
    for n in 2..=4 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=100);
            batch.push_journal(&closed(n, 100)).unwrap();
        });
    }
    journal(&mut writer, &closed(1, 100));
    for n in 5..=400 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=100);
            batch.push_journal(&closed(n, 100)).unwrap();
        });
        for old in 1..n {
            let shown = read(dir.path(), old);
            let is_open = shown.is_some_and(|(_, found)| found == Completeness::StillOpen);
            assert!(!is_open, "session {old} after {n}");
            let reader = SpoolReader::open(&config.dir).unwrap();
            let record = reader.sessions(&Filter::Id(session(old))).unwrap().pop();
            assert!(
                record.is_none_or(|record| record.closed.is_some()),
                "{old} after {n}"
            );
        }
        if n > 60 {
            break;
        }
    }
    let reader = SpoolReader::open(&config.dir).unwrap();
    let left = reader.sessions(&Filter::Id(session(1))).unwrap().pop();
    assert!(left.is_none(), "it is not kept for ever: {left:?}");
}
