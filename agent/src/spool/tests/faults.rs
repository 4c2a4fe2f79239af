use super::faulty_disk::Faulty;
use super::*;

/// Stores 20 batches of one session, trying each again until it is stored.
fn run(dir: &Path, disk: &Faulty) -> u64 {
    let small = SpoolConfig {
        segment_bytes: 1500,
        cap_bytes: 60_000,
        ..config(dir)
    };
    let mut failures = 0;
    let mut writer = loop {
        match SpoolWriter::open_on(&small, disk.clone()) {
            Ok((writer, _)) => break writer,
            Err(_) => failures += 1,
        }
        assert!(failures < 100);
    };
    let mut batch = BatchBuilder::new();
    batch.push_journal(&opened(1)).unwrap();
    for seq in 1..=20 {
        push(&mut batch, 1, seq * 2 - 1..=seq * 2);
        if seq == 20 {
            batch.push_journal(&closed(1, 40)).unwrap();
        }
        while let Err(error) = writer.commit(&mut batch, None, wall()) {
            assert!(matches!(error, SpoolError::Full { .. }), "{error}");
            assert!(
                !batch.is_empty(),
                "what is not stored stays with the caller"
            );
            failures += 1;
            assert!(failures < 100);
        }
        assert!(batch.is_empty());
        // A failure here leaves the batch stored, and the next one in a new segment.
        failures += u64::from(writer.sync().is_err());
    }
    failures
}

#[test]
fn whichever_call_fails_nothing_is_lost_or_doubled() {
    let dir = tempdir();
    let clean = Faulty::default();
    assert_eq!(run(dir.path(), &clean), 0);
    let calls = clean.0.borrow().calls;
    assert!(calls > 80, "{calls} calls");
    for length in [1, 2, 5] {
        for from in 1..calls {
            let dir = tempdir();
            let disk = Faulty::default();
            (disk.0.borrow_mut().from, disk.0.borrow_mut().to) = (from, from + length);
            run(dir.path(), &disk);
            let (seqs, found) = read(dir.path(), 1).unwrap();
            assert_eq!(
                seqs,
                (1..=40).collect::<Vec<_>>(),
                "calls {from} to {}",
                from + length
            );
            assert_eq!(found, Completeness::Complete);
            drop(open(&config(dir.path())).unwrap());
            assert_eq!(
                read(dir.path(), 1).unwrap().0.len(),
                40,
                "and after a restart"
            );
        }
    }
}

/// Also when the disk was too broken to be cleaned up at once.
#[test]
fn nothing_of_a_failed_batch_is_left_behind_a_smaller_one() {
    for failing in [1, 2] {
        let dir = tempdir();
        let disk = Faulty::default();
        let (mut writer, _) = SpoolWriter::open_on(&config(dir.path()), disk.clone()).unwrap();
        journal(&mut writer, &opened(1));
        let calls = disk.0.borrow().calls;
        (disk.0.borrow_mut().from, disk.0.borrow_mut().to) = (calls + 1, calls + 1 + failing);
        let mut large = BatchBuilder::new();
        push(&mut large, 1, 1..=100);
        writer.commit(&mut large, None, wall()).unwrap_err();
        write(&mut writer, |batch| push(batch, 1, 1..=1));
        drop(writer);
        let segment = config(dir.path()).dir.join("0000000000000000.seg");
        let len = std::fs::metadata(&segment).unwrap().len();
        let (writer, recovered) = open(&config(dir.path())).unwrap();
        assert_eq!((recovered.truncated_bytes, recovered.damage.len()), (0, 0));
        assert_eq!(writer.stats().segments, 1);
        assert_eq!(std::fs::metadata(&segment).unwrap().len(), len);
        assert_eq!(read(dir.path(), 1).unwrap().0, [1]);
    }
}

#[test]
fn after_a_failed_sync_the_same_file_is_not_trusted_again() {
    let dir = tempdir();
    let disk = Faulty::default();
    let (mut writer, _) = SpoolWriter::open_on(&config(dir.path()), disk.clone()).unwrap();
    let mut batch = BatchBuilder::new();
    batch.push_journal(&opened(1)).unwrap();
    let calls = disk.0.borrow().calls;
    (disk.0.borrow_mut().from, disk.0.borrow_mut().to) = (calls + 3, calls + 4);
    let error = writer.commit_durable(&mut batch, None, wall()).unwrap_err();
    assert!(matches!(error, SpoolError::Sync { .. }), "{error}");
    assert_eq!(
        (writer.stats().segments, writer.stats().failed_syncs),
        (1, 1)
    );
    push(&mut batch, 1, 1..=1);
    writer.commit_durable(&mut batch, None, wall()).unwrap();
    assert_eq!(writer.stats().segments, 2, "in a new segment");
    assert_eq!(read(dir.path(), 1).unwrap().0, [1]);
}

#[test]
fn a_removal_that_fails_doubles_no_event_in_the_counters() {
    let (dir, mut writer, disk) = two_sessions();
    for round in 0..150 {
        // The removals of every third round fail.
        disk.0.borrow_mut().keeps_files = round % 3 == 0;
        write(&mut writer, |batch| {
            push(batch, 1, round * 50 + 1..=round * 50 + 50);
            push(batch, 2, [round + 1]);
        });
    }
    assert!(writer.stats().segments_dropped > 10);
    let reader = SpoolReader::open(&config(dir.path()).dir).unwrap();
    let record = reader.sessions(&Filter::Id(session(2))).unwrap().remove(0);
    assert_eq!(record.stored, 150);
}

/// Begins a small spool with the sessions of two users. The directory goes with its guard.
fn two_sessions() -> (TempDir, SpoolWriter<Faulty>, Faulty) {
    let dir = tempdir();
    let config = SpoolConfig {
        segment_bytes: 10_000,
        cap_bytes: 200_000,
        ..config(dir.path())
    };
    let disk = Faulty::default();
    let (mut writer, _) = SpoolWriter::open_on(&config, disk.clone()).unwrap();
    journal(&mut writer, &opened(1));
    journal(&mut writer, &opened_by_another(2));
    (dir, writer, disk)
}

#[test]
fn no_segment_goes_before_its_copies_are_durable() {
    let (_dir, mut writer, disk) = two_sessions();
    disk.0.borrow_mut().failing_syncs = 5;
    for round in 0..150 {
        let mut batch = BatchBuilder::new();
        push(&mut batch, 1, round * 50 + 1..=round * 50 + 50);
        push(&mut batch, 2, [round + 1]);
        // A failed sync can fail a commit. The next batch then begins another segment.
        let _ = writer.commit(&mut batch, None, wall());
    }
    assert!(writer.stats().segments_dropped > 10);
    assert_eq!(disk.0.borrow().removed_too_early, 0);
}

fn opened_by_another(n: u32) -> JournalEntry {
    let JournalEntry::Opened(mut entry) = opened(n) else {
        unreachable!()
    };
    entry.login_uid = Some(1001);
    JournalEntry::Opened(entry)
}
