//! What the spool promises, written by the writer and read by the reader.

mod cap;
mod corpus;
mod damage;
mod faults;
mod faulty_disk;
mod full_start;
mod hostile;
mod lookup;
mod model;
mod padded;
mod recovery;
mod shipped;
mod trim;

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::TempDir;
use vctl_common::id::{BootId, CertSerial, ProcessId, SessionId};
use vctl_common::session::{
    Auth, Certificate, CloseReason, JournalEntry, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::spool::{Completeness, Filter, SpoolReader, completeness};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire;
use zerocopy::IntoBytes;

use super::{BatchBuilder, Disk, HostDisk, Recovered, SpoolConfig, SpoolError, SpoolWriter};

fn wall() -> WallOffset {
    WallOffset::from_ns(1_700_000_000_000_000_000)
}

fn boot(n: u32) -> BootId {
    format!("{n:032x}").parse().unwrap()
}

fn session(n: u32) -> SessionId {
    format!("0197000000007000800000{n:010x}").parse().unwrap()
}

fn serial(n: u32) -> CertSerial {
    CertSerial::new(u64::from(n) + 1000).unwrap()
}

fn config(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        dir: dir.join("spool"),
        cap_bytes: 1 << 30,
        segment_bytes: 16 << 20,
        host: "web-1".to_owned(),
        boot_id: boot(1),
    }
}

fn opened(n: u32) -> JournalEntry {
    JournalEntry::Opened(Box::new(SessionOpened {
        login_user: "deploy".to_owned(),
        service: "sshd".to_owned(),
        auth: Auth {
            certificate: Some(Certificate {
                serial: Some(serial(n)),
                key_id: format!("person-{n}"),
                ca_fingerprint: "SHA256:ca".to_owned(),
                principals: vec!["deploy".to_owned()],
                valid_after: 0,
                valid_before: u64::MAX,
                blob: None,
                blob_too_large: false,
            }),
            ..Auth::default()
        },
        leader: ProcessId {
            tgid: 100 + n,
            start: BootNs(5),
        },
        stamp: Stamp::InTime,
        marked_at: Some(BootNs(11)),
        ..SessionOpened::unknown(session(n), BootNs(10))
    }))
}

fn closed(n: u32, produced: u64) -> JournalEntry {
    JournalEntry::Closed(SessionClosed {
        id: session(n),
        at: BootNs(1_000_000),
        reason: CloseReason::LastProcessEnded,
        produced: Some(produced),
        stored: produced,
        leader_ended_at: None,
        requested: None,
    })
}

/// The real files, never synced: nothing here loses its power, and syncs take minutes.
#[derive(Clone, Copy, Debug)]
struct Unsynced;

impl Disk for Unsynced {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        HostDisk.create(path)
    }

    fn write_all_at(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        HostDisk.write_all_at(file, bytes, at)
    }

    fn truncate(&mut self, file: &File, len: u64) -> io::Result<()> {
        HostDisk.truncate(file, len)
    }

    fn sync(&mut self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        HostDisk.remove(path)
    }
}

/// A directory in memory where there is one: these tests write some thousand files.
fn tempdir() -> TempDir {
    TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .unwrap()
}

fn open(config: &SpoolConfig) -> Result<(SpoolWriter<Unsynced>, Recovered), SpoolError> {
    SpoolWriter::open_on(config, Unsynced)
}

/// An exit record; what it says depends on session and sequence number alone.
fn event(n: u32, seq: u64) -> Vec<u8> {
    let record = wire::Exit {
        header: wire::Header {
            len: 80,
            kind: wire::KIND_EXIT,
            marked: wire::MARKED_LINEAGE,
            session: session(n).mark(),
            session_seq: seq,
            cpu_seq: seq,
            at: 100 + seq,
            tgid: n,
            cpu: 0,
            start: seq,
        },
        parent_start: u64::from(n) * 1_000_003 + seq,
        ppid: 1,
        status: 0,
        alive: 1,
        euid: 0,
    };
    record.as_bytes().to_vec()
}

fn push(batch: &mut BatchBuilder, n: u32, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        batch
            .push_event(session(n).mark(), Some(serial(n)), &event(n, seq))
            .unwrap();
    }
}

fn write<D: Disk>(writer: &mut SpoolWriter<D>, fill: impl FnOnce(&mut BatchBuilder)) {
    let mut batch = BatchBuilder::new();
    fill(&mut batch);
    writer.commit(&mut batch, None, wall()).unwrap();
}

fn journal<D: Disk>(writer: &mut SpoolWriter<D>, entry: &JournalEntry) {
    write(writer, |batch| batch.push_journal(entry).expect("JSON"));
}

/// What a reader finds of a session: the sequence numbers, each event checked to be the one that
/// was written, and whether they are all.
fn read(dir: &Path, n: u32) -> Option<(Vec<u64>, Completeness)> {
    let reader = SpoolReader::open(&dir.join("spool")).unwrap();
    read_from(&reader, n)
}

fn read_from(reader: &SpoolReader, n: u32) -> Option<(Vec<u64>, Completeness)> {
    let record = reader.sessions(&Filter::Id(session(n))).unwrap().pop()?;
    let timeline = reader.timeline(&record).unwrap();
    let seqs = timeline.events.iter().map(|stored| {
        let seq = stored.event.session_seq;
        let written = vctl_common::event::decode(&event(n, seq)).unwrap();
        assert_eq!(stored.event, written, "an event that was never written");
        assert_eq!(stored.wall, wall().wall_time(stored.event.at));
        seq
    });
    let seqs = seqs.collect();
    Some((seqs, completeness(&record, &timeline)))
}

fn missing(completeness: &Completeness) -> u64 {
    match completeness {
        Completeness::Missing(ranges) => ranges.iter().filter_map(|range| range.count).sum(),
        _ => 0,
    }
}
