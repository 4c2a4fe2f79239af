use vctl_common::session::JournalEntry;
use vctl_common::spool::{Completeness, Filter, Followed, Follower, SpoolReader};

use super::*;

#[test]
fn a_session_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, recovered) = SpoolWriter::open(&config(dir.path())).unwrap();
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
    write(&mut writer, |batch| {
        batch.push_journal(&closed(1, 5)).unwrap()
    });

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
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = SpoolWriter::open(&config(dir.path())).unwrap();
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
    write(&mut writer, |batch| {
        batch.push_journal(&closed(2, 0)).unwrap()
    });
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
    let dir = tempfile::tempdir().unwrap();
    let mut small = config(dir.path());
    small.segment_bytes = 256 << 10;
    let (mut writer, _) = SpoolWriter::open(&small).unwrap();
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
    assert_eq!(reader.bytes_read(), indexes);

    let (seqs, complete) = read_from(&reader, 77).unwrap();
    assert_eq!((seqs.len(), complete), (100, Completeness::Complete));
    let own = reader.bytes_read() - indexes;
    assert!(own < 100 * 80 + 2000, "{own} bytes for 100 events of 80");

    let before = reader.bytes_read();
    assert_eq!(reader.sessions(&Filter::All).unwrap().len(), 200);
    let listed = reader.bytes_read() - before;
    assert!(
        listed < total / 8,
        "{listed} of {total} bytes to list sessions"
    );
}

#[test]
fn a_follower_yields_what_is_new_once_over_a_change_of_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = config(dir.path());
    small.segment_bytes = 4096;
    let (mut writer, _) = SpoolWriter::open(&small).unwrap();
    write(&mut writer, |batch| batch.push_journal(&opened(1)).unwrap());
    write(&mut writer, |batch| push(batch, 1, 1..=2));
    let reader = SpoolReader::open(&small.dir).unwrap();
    let mut follower = Follower::new(&reader, Filter::Serial(serial(1)));
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
    write(&mut writer, |batch| {
        batch.push_journal(&closed(1, 199)).unwrap()
    });
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
