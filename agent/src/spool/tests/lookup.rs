use vctl_common::session::JournalEntry;
use vctl_common::spool::{Completeness, Filter, Followed, Follower, SpoolReader};

use super::*;

#[test]
fn a_session_is_read_as_it_was_written() {
    let dir = tempdir();
    let (mut writer, recovered) = open(&config(dir.path())).unwrap();
    assert!(recovered.open.is_empty() && recovered.ring.is_none());
    write(&mut writer, |batch| {
        batch.push_journal(&opened(1)).unwrap();
        batch.push_journal(&opened(2)).unwrap();
    });
    write(&mut writer, |batch| {
        push(batch, 1, 1..=3);
        push(batch, 2, 1..=2);
        push(batch, 1, 4..=5);
    });
    journal(&mut writer, &closed(1, 5));

    let (seqs, complete) = read(dir.path(), 1).unwrap();
    assert_eq!(
        (seqs, complete),
        (vec![1, 2, 3, 4, 5], Completeness::Complete)
    );
    let (seqs, complete) = read(dir.path(), 2).unwrap();
    assert_eq!((seqs, complete), (vec![1, 2], Completeness::StillOpen));
    assert!(read(dir.path(), 3).is_none());
}

#[test]
fn a_serial_finds_its_sessions_and_no_others() {
    let dir = tempdir();
    let (mut writer, _) = open(&config(dir.path())).unwrap();
    write(&mut writer, |batch| {
        for n in 1..=3 {
            batch.push_journal(&opened(n)).unwrap();
        }
        // A second login with the certificate of 2.
        let JournalEntry::Opened(mut again) = opened(4) else {
            unreachable!()
        };
        again.auth.certificate.as_mut().unwrap().serial = Some(serial(2));
        batch.push_journal(&JournalEntry::Opened(again)).unwrap();
    });
    journal(&mut writer, &closed(2, 0));
    let reader = SpoolReader::open(&dir.path().join("spool")).unwrap();
    let found = reader.sessions(&Filter::Serial(serial(2))).unwrap();
    let ids: Vec<_> = found.iter().map(|found| found.opened.id).collect();
    assert_eq!(ids, [session(4), session(2)]);
    assert!(found[0].closed.is_none() && found[1].closed.is_some());
    assert_eq!(found[1].host, "web-1");
    assert_eq!(reader.sessions(&Filter::All).unwrap().len(), 4);
}

/// Time is for `cargo xtask bench`; what it depends on is how much is read.
#[test]
fn a_lookup_reads_the_indexes_and_its_own_blocks_only() {
    let dir = tempdir();
    let mut small = config(dir.path());
    small.segment_bytes = 256 << 10;
    let (mut writer, _) = open(&small).unwrap();
    for n in 0..200 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=100);
            batch.push_journal(&closed(n, 100)).unwrap();
        });
    }
    let total = writer.stats().bytes;
    let reader = SpoolReader::open(&small.dir).unwrap();
    let indexes: u64 = std::fs::read_dir(&small.dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension() == Some("idx".as_ref()))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    let (seqs, complete) = read_from(&reader, 77).unwrap();
    assert_eq!((seqs.len(), complete), (100, Completeness::Complete));
    let segments = writer.stats().segments;
    let own = reader.bytes_read() - indexes - indexes / segments * 3 / 2;
    assert!(own < 100 * 80 + 2000, "{own} bytes for 100 events of 80");

    let before = reader.bytes_read() + indexes;
    assert_eq!(reader.sessions(&Filter::All).unwrap().len(), 200);
    let listed = reader.bytes_read() - before;
    assert!(
        listed < total / 8,
        "{listed} of {total} bytes to list sessions"
    );
}

#[test]
fn a_follower_yields_what_is_new_once_over_a_change_of_segment() {
    let dir = tempdir();
    let mut small = config(dir.path());
    small.segment_bytes = 4096;
    let (mut writer, _) = open(&small).unwrap();
    journal(&mut writer, &opened(1));
    write(&mut writer, |batch| push(batch, 1, 1..=2));
    let reader = SpoolReader::open(&small.dir).unwrap();
    let mut follower = Follower::new(&reader, Filter::Serial(serial(1))).unwrap();
    assert!(follower.poll().unwrap().is_empty());

    let mut seen = Vec::new();
    for seq in 3..200 {
        write(&mut writer, |batch| {
            push(batch, 2, [seq]);
            push(batch, 1, [seq]);
        });
        if seq % 7 == 0 {
            seen.extend(follower.poll().unwrap());
        }
    }
    journal(&mut writer, &closed(1, 199));
    seen.extend(follower.poll().unwrap());
    assert!(writer.stats().segments > 3);
    let Some(Followed::Journal { entry, .. }) = seen.pop() else {
        panic!("the end of the session is news")
    };
    assert_eq!(entry, closed(1, 199));
    let seqs: Vec<_> = seen
        .iter()
        .map(|news| match news {
            Followed::Event { mark, stored } if *mark == session(1).mark() => {
                stored.event.session_seq
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seqs, (3..200).collect::<Vec<_>>());
}

#[test]
fn a_reader_beside_the_writer_sees_whole_batches_and_no_damage() {
    let dir = tempdir();
    let small = SpoolConfig {
        segment_bytes: 300_000,
        ..config(dir.path())
    };
    let (mut writer, _) = open(&small).unwrap();
    journal(&mut writer, &opened(1));
    let writing = std::thread::spawn(move || {
        let mut last = 0;
        for round in 0..400 {
            let count = 1 + round * 37 % 200;
            write(&mut writer, |batch| push(batch, 1, last + 1..=last + count));
            last += count;
        }
        last
    });
    let mut seen = 0;
    while !writing.is_finished() {
        let (seqs, found) = read(dir.path(), 1).unwrap();
        assert_eq!(found, Completeness::StillOpen);
        assert!(seqs.len() >= seen);
        seen = seqs.len();
    }
    let written = writing.join().unwrap();
    assert_eq!(read(dir.path(), 1).unwrap().0.len() as u64, written);
}
