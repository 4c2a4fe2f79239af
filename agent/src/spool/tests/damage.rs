use std::fs;
use std::path::PathBuf;

use super::*;

/// Two sessions of ten events each over several batches, both closed.
fn spool(dir: &Path) -> PathBuf {
    let config = config(dir);
    let (mut writer, _) = open(&config).unwrap();
    write(&mut writer, |batch| {
        batch.push_journal(&opened(1)).unwrap();
        batch.push_journal(&opened(2)).unwrap();
    });
    for seqs in [1..=4, 5..=7, 8..=10] {
        write(&mut writer, |batch| {
            push(batch, 1, seqs.clone());
            push(batch, 2, seqs);
        });
    }
    write(&mut writer, |batch| {
        batch.push_journal(&closed(1, 10)).unwrap();
        batch.push_journal(&closed(2, 10)).unwrap();
    });
    config.dir.join("0000000000000000.seg")
}

/// How many events are read; checks that each of them was written, and that those which are not
/// read are reported.
fn honest(dir: &Path, what: &str) -> usize {
    let reader = SpoolReader::open(&dir.join("spool")).unwrap();
    let all: Vec<u64> = (1..=10).collect();
    let mut events = 0;
    for n in [1, 2] {
        let Some((seqs, found)) = read_from(&reader, n) else {
            let nameless = reader.nameless(&Filter::Id(session(n))).unwrap();
            assert_eq!(
                nameless.len(),
                1,
                "{what}: session {n} is gone without a word"
            );
            continue;
        };
        events += seqs.len();
        assert!(seqs.iter().all(|seq| all.contains(seq)), "{what}: {seqs:?}");
        match found {
            Completeness::Complete => assert_eq!(seqs, all, "{what}: called complete"),
            // A closing entry that cannot be read leaves the end unknown, which is a range.
            Completeness::StillOpen => panic!("{what}: the damaged end of {n} went unnoticed"),
            Completeness::Missing(_) => assert!(missing(&found) >= 10 - seqs.len() as u64),
        }
    }
    events
}

#[test]
fn a_flipped_bit_costs_at_most_its_block_and_is_reported() {
    let dir = tempdir();
    let segment = spool(dir.path());
    for file in [segment.clone(), segment.with_extension("idx")] {
        let whole = fs::read(&file).unwrap();
        let is_index = file != segment;
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&file, &flipped).unwrap();
            let what = format!("byte {at} of {}", file.display());
            let events = honest(dir.path(), &what);
            // A block of an opening entry takes the name of a session with all its events.
            assert!(events >= 10, "{what}: {events} events");
            if is_index || at < 312 {
                assert_eq!(events, 20, "{what}: the other copy is whole");
            }
        }
        fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn a_flipped_bit_without_an_index_is_reported_too() {
    let dir = tempdir();
    let segment = spool(dir.path());
    fs::remove_file(segment.with_extension("idx")).unwrap();
    let whole = fs::read(&segment).unwrap();
    // Damage to the segment's own header leaves nothing that says what it is.
    for at in 312..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&segment, &flipped).unwrap();
        honest(dir.path(), &format!("byte {at}"));
    }
}

#[test]
fn the_writer_keeps_what_is_damaged_and_goes_on() {
    let dir = tempdir();
    let segment = spool(dir.path());
    let whole = fs::read(&segment).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&segment, &flipped).unwrap();
        let before = honest(dir.path(), &format!("byte {at} before"));
        let (mut writer, _) = open(&config(dir.path())).unwrap();
        write(&mut writer, |batch| {
            batch.push_journal(&opened(3)).unwrap();
            push(batch, 3, 1..=2);
        });
        drop(writer);
        assert_eq!(honest(dir.path(), &format!("byte {at} after")), before);
        assert_eq!(read(dir.path(), 3).unwrap().0, [1, 2]);

        let spool = segment.parent().unwrap();
        for entry in fs::read_dir(spool).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let fresh = self::spool(dir.path());
        // Batches have another magic number in each segment.
        assert_eq!(fs::read(&fresh).unwrap().len(), whole.len());
        let magic_differs = fs::read(&fresh).unwrap() != whole;
        assert!(magic_differs);
        fs::write(&fresh, &whole).unwrap();
        fs::remove_file(fresh.with_extension("idx")).unwrap();
        drop(open(&config(dir.path())).unwrap());
    }
}

/// A user writes a batch for another session into argv, and then the disk fails where the
/// agent's own batch begins.
#[test]
fn bytes_of_a_user_cannot_pose_as_a_batch() {
    use vctl_common::spool::{FileHeader, FileKind};

    let dir = tempdir();
    let config = config(dir.path());
    let (mut writer, _) = open(&config).unwrap();
    journal(&mut writer, &opened(1));
    // The best forgery: right in everything but the number that only the files hold.
    let mut forged = BatchBuilder::new();
    push(&mut forged, 1, 1..=1);
    let (mut bytes, mut table) = (Vec::new(), Vec::new());
    let at = fs::metadata(config.dir.join("0000000000000000.seg"))
        .unwrap()
        .len()
        + 36
        + 88
        + 80;
    forged
        .encode(
            0x1234_5678_9abc_def0,
            at,
            None,
            wall(),
            &mut bytes,
            &mut table,
        )
        .unwrap();
    let mut record = event(2, 1);
    record.extend_from_slice(&bytes);
    let len = u32::try_from(record.len()).unwrap();
    record[..4].copy_from_slice(&len.to_le_bytes());
    write(&mut writer, |batch| {
        batch.push_event(session(2).mark(), None, &record).unwrap();
    });
    drop(writer);
    let path = config.dir.join("0000000000000000.seg");
    let mut segment = fs::read(&path).unwrap();
    let header = FileHeader::decode(&segment, FileKind::Segment).unwrap();
    assert_ne!(header.batch_magic(), 0x1234_5678_9abc_def0);
    let batch = usize::try_from(at).unwrap() - 36 - 88 - 80;
    segment[batch..batch + 36 + 88].fill(0xee);
    fs::write(&path, &segment).unwrap();
    fs::remove_file(path.with_extension("idx")).unwrap();
    let (seqs, found) = read(dir.path(), 1).unwrap();
    assert!(seqs.is_empty(), "{seqs:?} were never written");
    assert!(matches!(found, Completeness::Missing(_)));
}
