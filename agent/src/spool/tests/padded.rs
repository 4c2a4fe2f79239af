//! Sessions with names as long as their users could make them: they take no room from others, and no restart fails.

use std::fs;

use vctl_common::spool::list;

use super::*;

/// A session whose certificate is padded as far as execve lets it pass.
fn padded(n: u32, login_uid: u32) -> JournalEntry {
    let JournalEntry::Opened(mut entry) = opened(n) else {
        unreachable!()
    };
    entry.login_uid = Some(login_uid);
    let certificate = entry.auth.certificate.as_mut().unwrap();
    certificate.key_id = "\u{1}".repeat(32 * 1024);
    certificate.principals = vec!["\u{1}".repeat(100); 256];
    certificate.blob = Some("A".repeat(20_000));
    JournalEntry::Opened(entry)
}

fn small(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        segment_bytes: 16 << 10,
        cap_bytes: 1 << 20,
        ..config(dir)
    }
}

/// Writes a session of another account: its beginning, events and end.
fn ordinary(writer: &mut SpoolWriter<Unsynced>, n: u32) {
    write(writer, |batch| {
        batch.push_journal(&opened(n)).unwrap();
        push(batch, n, 1..=20);
        batch.push_journal(&closed(n, 20)).unwrap();
    });
}

fn is_complete(dir: &Path, n: u32) -> bool {
    let found = read(dir, n).unwrap();
    found == ((1..=20).collect(), Completeness::Complete)
}

#[test]
fn heads_take_at_most_half_of_the_spool() {
    let dir = tempdir();
    let (mut writer, _) = open(&small(dir.path())).unwrap();
    // Ordinary sessions: their head alone is larger than a segment.
    for n in 1..=100 {
        journal(&mut writer, &opened(n));
    }
    let begun = writer.stats();
    for seq in 1..=500 {
        write(&mut writer, |batch| push(batch, 1, [seq]));
    }
    let stored = writer.stats();
    let segments = stored.segments - begun.segments;
    assert!((1..=6).contains(&segments), "{segments} segments");
    let written: u64 = 500 * (80 + 36 + 2 * 88);
    let grown = stored.bytes - begun.bytes;
    assert!(grown < 3 * written, "{grown} bytes for {written}");
    assert_eq!(stored.segments_dropped, 0);
}

#[test]
fn idle_padded_sessions_push_out_no_other_session() {
    let dir = tempdir();
    let (mut writer, _) = open(&small(dir.path())).unwrap();
    ordinary(&mut writer, 1);
    for n in 100..140 {
        // Entries of an older agent, which wrote names whole, would fill the spool.
        let JournalEntry::Opened(mut entry) = padded(n, 1001) else {
            unreachable!()
        };
        entry.shorten();
        journal(&mut writer, &JournalEntry::Opened(entry));
    }
    for n in 2..40 {
        ordinary(&mut writer, n);
    }
    assert!((1..40).all(|n| is_complete(dir.path(), n)));
    assert!(writer.stats().bytes <= 1 << 20);
}

#[test]
fn padded_logins_one_after_another_push_out_no_other_session() {
    let dir = tempdir();
    let (mut writer, _) = open(&small(dir.path())).unwrap();
    ordinary(&mut writer, 1);
    for n in 100..1000 {
        let JournalEntry::Opened(mut entry) = padded(n, 1001) else {
            unreachable!()
        };
        entry.shorten();
        write(&mut writer, |batch| {
            batch.push_journal(&JournalEntry::Opened(entry)).unwrap();
            push(batch, n, 1..=2);
            batch.push_journal(&closed(n, 2)).unwrap();
        });
        assert!(writer.stats().bytes <= 1 << 20, "{n}");
    }
    assert!(writer.stats().segments_dropped > 10);
    assert!(is_complete(dir.path(), 1));
}

#[test]
fn names_of_an_older_agent_are_repeated_shortened() {
    let dir = tempdir();
    let config = SpoolConfig {
        cap_bytes: 1 << 30,
        ..small(dir.path())
    };
    let (mut writer, _) = open(&config).unwrap();
    for n in 1..=20 {
        journal(&mut writer, &padded(n, 1001));
    }
    for boot_id in [boot(1), boot(2), boot(3)] {
        drop(writer);
        let config = SpoolConfig {
            boot_id,
            ..config.clone()
        };
        let (again, recovered) = open(&config).unwrap();
        writer = again;
        let sessions = recovered.open.iter().chain(&recovered.cut_off);
        let lens = sessions.map(|s| serde_json::to_vec(&s.opened).unwrap().len());
        let lens: Vec<usize> = lens.collect();
        assert_eq!(lens.len(), 20);
        assert!(lens.iter().all(|len| *len < 8 * 1024), "{lens:?}");
    }
    let heads = list(&config.dir).unwrap().segments;
    assert!(heads[heads.len() - 1].len < 200_000, "{heads:?}");
}

#[test]
fn a_head_cut_at_any_batch_loses_no_open_session() {
    let dir = tempdir();
    let config = SpoolConfig {
        segment_bytes: 256 << 10,
        ..config(dir.path())
    };
    let (mut writer, _) = open(&config).unwrap();
    let all = 1000;
    for n in 1..=all {
        journal(&mut writer, &opened(n));
    }
    writer.begin_segment().unwrap();
    let head = writer.active.files.clone();
    assert!(writer.active.end > 512 * 1024, "several batches");
    drop(writer);
    let whole = fs::read(&head.segment).unwrap();
    for len in [200, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        for after in [boot(1), boot(2)] {
            let copy = tempdir();
            let config = SpoolConfig {
                dir: copy.path().join("spool"),
                boot_id: after,
                ..config.clone()
            };
            fs::create_dir(&config.dir).unwrap();
            for file in fs::read_dir(dir.path().join("spool")).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), config.dir.join(file.file_name())).unwrap();
            }
            let torn = config.dir.join(head.segment.file_name().unwrap());
            fs::write(torn, &whole[..len]).unwrap();
            for _ in 0..2 {
                let (writer, recovered) = open(&config).unwrap();
                let found = recovered.open.len() + recovered.cut_off.len();
                assert_eq!(found, all as usize, "{len} of {} bytes", whole.len());
                assert_eq!(writer.stats().open_sessions, u64::from(all));
                assert_eq!(writer.active.named.len(), all as usize);
            }
        }
    }
}
