use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use super::super::{Position, remember_shipped};
use super::*;

/// Fails the calls of its plan; the others go to the disk.
#[derive(Clone, Debug, Default)]
struct Faulty(Rc<RefCell<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    calls: u64,
    /// Calls that fail, by number.
    from: u64,
    to: u64,
    /// Removals fail.
    keeps_files: bool,
    syncs: u64,
    /// Each sync whose number is a multiple of this fails; 0 is none.
    failing_syncs: u64,
    /// Something was written after the last sync, also a failed one.
    is_written: bool,
    /// The last bytes are not durable. As in the kernel, another sync does not write again what a failed one dropped.
    is_volatile: bool,
    /// Complete segments that were removed while the copies of their entries were not durable.
    removed_too_early: u32,
    /// Nothing can be created before so many segments are removed.
    room_after_removals: u32,
}

/// The least bytes of a complete segment here. A segment that could not be created has only a head.
const COMPLETE: u64 = 5000;

impl Faulty {
    fn fails(&self) -> io::Result<()> {
        let mut plan = self.0.borrow_mut();
        plan.calls += 1;
        if (plan.from..plan.to).contains(&plan.calls) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl Disk for Faulty {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.fails()?;
        if self.0.borrow().room_after_removals > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Unsynced.create(path)
    }

    fn write_all_at(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Err(full) = self.fails() {
            // A disk that fills up takes a part.
            Unsynced.write_all_at(file, &bytes[..bytes.len() / 2], at)?;
            return Err(full);
        }
        let mut plan = self.0.borrow_mut();
        (plan.is_written, plan.is_volatile) = (true, true);
        Unsynced.write_all_at(file, bytes, at)
    }

    fn truncate(&mut self, file: &File, len: u64) -> io::Result<()> {
        self.fails()?;
        Unsynced.truncate(file, len)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.fails()?;
        let mut plan = self.0.borrow_mut();
        plan.syncs += 1;
        let was_written = std::mem::take(&mut plan.is_written);
        if plan.failing_syncs > 0 && plan.syncs.is_multiple_of(plan.failing_syncs) {
            return Err(io::Error::other("the device reports an error"));
        }
        plan.is_volatile &= !was_written;
        Unsynced.sync(file)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.fails()?;
        Unsynced.sync_dir(dir)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.fails()?;
        let mut plan = self.0.borrow_mut();
        if plan.keeps_files {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let len = fs::metadata(path)?.len();
        Unsynced.remove(path)?;
        if path.extension().is_some_and(|kind| kind == "seg") {
            plan.room_after_removals = plan.room_after_removals.saturating_sub(1);
            plan.removed_too_early += u32::from(plan.is_volatile && len >= COMPLETE);
        }
        Ok(())
    }
}

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
    for round in 0..150 {
        // The removals of every third round fail.
        disk.0.borrow_mut().keeps_files = round % 3 == 0;
        write(&mut writer, |batch| {
            push(batch, 1, round * 50 + 1..=round * 50 + 50);
            push(batch, 2, [round + 1]);
        });
    }
    assert!(writer.stats().segments_dropped > 10);
    let reader = SpoolReader::open(&config.dir).unwrap();
    let record = reader.sessions(&Filter::Id(session(2))).unwrap().remove(0);
    assert_eq!(record.stored, 150);
}

#[test]
fn no_segment_goes_before_its_copies_are_durable() {
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
    let end = (writer.active.files.number, writer.active.end);
    let id = writer.id();
    drop(writer);
    let disk = Faulty::default();
    disk.0.borrow_mut().room_after_removals = 2;
    assert!(matches!(
        SpoolWriter::open_on(&after, disk.clone()),
        Err(SpoolError::Full { .. })
    ));
    let shipped = Position {
        segment: end.0,
        offset: end.1,
        check: 0,
    };
    remember_shipped(&config.dir, id, shipped).unwrap();
    let (writer, recovered) = SpoolWriter::open_on(&after, disk).unwrap();
    assert_eq!(writer.stats().segments, all + 1 - 2);
    // The oldest segment holds an open session.
    assert_eq!(recovered.cut_off.len(), 1);
    assert_eq!(recovered.cut_off[0].stored, 100);
}
