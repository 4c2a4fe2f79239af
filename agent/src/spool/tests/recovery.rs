use std::fs;

use vctl_common::spool::{Completeness, Filter, RingPosition, SpoolReader};

use super::*;

#[test]
fn a_restart_goes_on_where_the_last_batch_ended() {
    let dir = tempdir();
    let ring = |end| Some(RingPosition { ring_id: 7, end });
    let (mut writer, _) = open(&config(dir.path())).unwrap();
    let mut batch = BatchBuilder::new();
    batch.push_journal(&opened(1)).unwrap();
    writer.commit_durable(&mut batch, None, wall()).unwrap();
    push(&mut batch, 1, 1..=3);
    writer.commit(&mut batch, ring(240), wall()).unwrap();
    // The stamp path knows nothing of the ring and must not move it.
    batch.push_journal(&opened(2)).unwrap();
    writer.commit_durable(&mut batch, None, wall()).unwrap();
    drop(writer);

    let (mut writer, recovered) = open(&config(dir.path())).unwrap();
    assert_eq!(recovered.ring, ring(240));
    assert_eq!(recovered.open.len(), 2);
    let one = recovered
        .open
        .iter()
        .find(|open| open.opened.id == session(1));
    assert_eq!(one.unwrap().stored, 3);
    assert_eq!(writer.stats().segments, 1, "the segment is gone on with");
    write(&mut writer, |batch| {
        push(batch, 1, 4..=4);
        batch.push_journal(&closed(1, 4)).unwrap();
    });
    let (seqs, complete) = read(dir.path(), 1).unwrap();
    assert_eq!((seqs, complete), (vec![1, 2, 3, 4], Completeness::Complete));
}

#[test]
fn after_a_reboot_open_sessions_are_cut_off_and_keep_their_boot() {
    let dir = tempdir();
    let (mut writer, _) = open(&config(dir.path())).unwrap();
    let mut batch = BatchBuilder::new();
    batch.push_journal(&opened(1)).unwrap();
    let ring = Some(RingPosition { ring_id: 7, end: 9 });
    writer.commit(&mut batch, ring, wall()).unwrap();
    drop(writer);

    let mut later = config(dir.path());
    later.boot_id = boot(2);
    for _ in 0..2 {
        let (writer, recovered) = open(&later).unwrap();
        assert_eq!(recovered.ring, None, "a ring does not outlive its boot");
        assert!(recovered.open.is_empty());
        assert_eq!(recovered.cut_off.len(), 1);
        assert_eq!(recovered.cut_off[0].boot_id, boot(1));
        drop(writer);
    }
    let (mut writer, _) = open(&later).unwrap();
    journal(&mut writer, &closed(1, 0));
    // Even when the segment it began in is gone.
    fs::remove_file(later.dir.join("0000000000000000.seg")).unwrap();
    let reader = SpoolReader::open(&later.dir).unwrap();
    let record = reader.sessions(&Filter::All).unwrap().pop().unwrap();
    assert_eq!((record.boot_id, record.wall), (boot(1), wall()));
    assert!(record.closed.is_some());
}

#[test]
fn a_batch_cut_at_any_byte_is_taken_away_whole() {
    let whole = tempdir();
    let (mut writer, _) = open(&config(whole.path())).unwrap();
    write(&mut writer, |batch| {
        batch.push_journal(&opened(1)).unwrap();
        push(batch, 1, 1..=2);
    });
    let first_len = writer.stats().bytes;
    write(&mut writer, |batch| {
        push(batch, 1, 3..=4);
        push(batch, 2, 1..=1);
    });
    assert!(writer.stats().bytes > first_len);
    drop(writer);
    let spool = whole.path().join("spool");
    let segment = fs::read(spool.join("0000000000000000.seg")).unwrap();
    let index = fs::read(spool.join("0000000000000000.idx")).unwrap();
    let first_end = segment.len() - (36 + 2 * 88 + 3 * 80);

    for cut in 0..=segment.len() {
        let dir = tempdir();
        let config = config(dir.path());
        fs::create_dir(&config.dir).unwrap();
        let path = config.dir.join("0000000000000000.seg");
        fs::write(&path, &segment[..cut]).unwrap();
        fs::write(path.with_extension("idx"), &index).unwrap();
        let expected: Vec<u64> = match cut {
            _ if cut == segment.len() => (1..=4).collect(),
            _ if cut >= first_end => (1..=2).collect(),
            _ => Vec::new(),
        };
        let before = read(dir.path(), 1).map_or(Vec::new(), |(seqs, _)| seqs);
        assert_eq!(before, expected, "read after {cut} bytes");

        let (mut writer, recovered) = open(&config).unwrap();
        let left = if cut < 312 {
            cut
        } else if cut < first_end {
            312
        } else {
            first_end
        };
        let torn = if cut == segment.len() || cut < 312 {
            0
        } else {
            cut - left
        };
        assert_eq!(recovered.truncated_bytes, torn as u64, "after {cut} bytes");
        write(&mut writer, |batch| {
            batch.push_journal(&opened(1)).unwrap();
            push(batch, 1, 5..=5);
        });
        let after = read(dir.path(), 1).unwrap().0;
        let expected: Vec<u64> = expected.into_iter().chain([5]).collect();
        assert_eq!(after, expected, "written on after {cut} bytes");
    }
}

#[test]
fn an_index_that_is_gone_short_or_damaged_is_written_anew() {
    let dir = tempdir();
    let config = config(dir.path());
    let (mut writer, _) = open(&config).unwrap();
    for n in 1..=3 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=5);
        });
    }
    drop(writer);
    let path = config.dir.join("0000000000000000.idx");
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[312 + 88 + 20] ^= 4;
    for broken in [
        None,
        Some(&whole[..312 + 100]),
        Some(&whole[..5]),
        Some(&damaged),
    ] {
        match broken {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        assert_eq!(read(dir.path(), 2).unwrap().0, [1, 2, 3, 4, 5], "in memory");
        drop(open(&config).unwrap());
        assert!(fs::read(&path).unwrap() == whole, "on disk");
    }
}

#[test]
fn an_old_session_is_still_open_after_a_restart() {
    let dir = tempdir();
    let config = SpoolConfig {
        segment_bytes: 4000,
        ..config(dir.path())
    };
    let (mut writer, _) = open(&config).unwrap();
    journal(&mut writer, &opened(1));
    for n in 2..40 {
        write(&mut writer, |batch| {
            batch.push_journal(&opened(n)).unwrap();
            push(batch, n, 1..=10);
            batch.push_journal(&closed(n, 10)).unwrap();
        });
    }
    assert!(writer.stats().segments > 10);
    drop(writer);
    let (writer, recovered) = open(&config).unwrap();
    let open: Vec<_> = recovered.open.iter().map(|open| open.opened.id).collect();
    assert_eq!((open, writer.stats().open_sessions), (vec![session(1)], 1));
}

#[test]
fn a_login_that_is_recorded_in_the_end_is_open_again() {
    let dir = tempdir();
    let (mut writer, _) = open(&config(dir.path())).unwrap();
    let JournalEntry::Closed(mut never) = closed(1, 0) else {
        unreachable!()
    };
    never.reason = CloseReason::NeverRecorded;
    for entry in [opened(1), JournalEntry::Closed(never), opened(1)] {
        journal(&mut writer, &entry);
    }
    write(&mut writer, |batch| push(batch, 1, 1..=3));
    drop(writer);
    let (_, recovered) = open(&config(dir.path())).unwrap();
    assert_eq!(recovered.open.len(), 1);
    assert_eq!(recovered.open[0].stored, 3);
}
