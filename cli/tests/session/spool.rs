//! A spool like that of the agent, written with the code of the format.
//!
//! `vctl` does not use code of the agent, and neither do its tests. Specs in the lab read spools that the
//! agent itself wrote.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use vctl_common::id::{BootId, CertSerial, ProcessId, SessionId};
use vctl_common::session::{
    Auth, Certificate, CloseReason, JournalEntry, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::spool::{
    BatchHeader, BlockEntry, BlockFacts, BlockKind, BlockPlace, FileHeader, FileKind, SegmentFiles,
    write_journal_line,
};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::{self, Exec, Exit, Header};
use zerocopy::IntoBytes as _;

const MAGIC: u64 = 0x5eed_5eed_5eed_5eed;
const WALL: i64 = 1_795_467_660_000_000_000;
const LEADER: u32 = 4100;

pub(crate) struct Spool {
    dir: tempfile::TempDir,
    files: SegmentFiles,
    end: u64,
}

/// One login. Its events get consecutive numbers.
pub(crate) struct Login {
    pub(crate) opened: SessionOpened,
    seq: u64,
    now: u64,
}

impl Spool {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = SegmentFiles::new(dir.path(), 1);
        let boot_id: BootId = "6f3b4a52-21d4-4b0e-8a75-0d6a8c0f5e11".parse().unwrap();
        let header = FileHeader::new(1, boot_id, "web-1", MAGIC).unwrap();
        let mut spool = Self {
            dir,
            files,
            end: FileHeader::LEN as u64,
        };
        append(&spool.files.segment, &header.encode(FileKind::Segment));
        append(&spool.files.index, &header.encode(FileKind::Index));
        spool.end = FileHeader::LEN as u64;
        spool
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn segment(&self) -> PathBuf {
        self.files.segment.clone()
    }

    pub(crate) fn open(&mut self, login: &Login) {
        self.journal(login, &JournalEntry::Opened(Box::new(login.opened.clone())));
    }

    pub(crate) fn close(&mut self, login: &Login) {
        let closed = SessionClosed {
            id: login.opened.id,
            at: BootNs(login.now),
            reason: CloseReason::LastProcessEnded,
            produced: Some(login.seq),
            stored: login.seq,
            leader_ended_at: Some(BootNs(login.now)),
            requested: None,
        };
        self.journal(login, &JournalEntry::Closed(closed));
    }

    pub(crate) fn journal(&mut self, login: &Login, entry: &JournalEntry) {
        let mut payload = Vec::new();
        write_journal_line(&mut payload, entry, None).unwrap();
        self.batch(login, BlockKind::Journal, (0, 0), 1, &payload);
    }

    pub(crate) fn store(&mut self, login: &Login, records: &[Vec<u8>]) {
        let count = u32::try_from(records.len()).unwrap();
        let seq = |record: &Vec<u8>| vctl_common::event::header(record).unwrap().session_seq;
        let seqs = (seq(&records[0]), seq(records.last().unwrap()));
        self.batch(login, BlockKind::Events, seqs, count, &records.concat());
    }

    fn batch(
        &mut self,
        login: &Login,
        kind: BlockKind,
        (first_seq, last_seq): (u64, u64),
        count: u32,
        payload: &[u8],
    ) {
        let facts = BlockFacts {
            kind,
            mark: login.opened.id.mark(),
            serial: login.opened.auth.certificate.as_ref().unwrap().serial,
            count,
            first_seq,
            last_seq,
            first_at: login.opened.opened_at,
            last_at: BootNs(login.now),
            wall_offset: WallOffset::from_ns(WALL),
        };
        let offset = BatchHeader::payloads_at(self.end, 1);
        let place = BlockPlace {
            offset: u32::try_from(offset).unwrap(),
            nth: 0,
            of: 1,
        };
        let entry = BlockEntry::new(&facts, place, payload).unwrap();
        let len = BatchHeader::payloads_at(0, 1) + payload.len() as u64;
        let header = BatchHeader::new(MAGIC, 1, u32::try_from(len).unwrap(), None);
        let table = BlockEntry::encoded(std::slice::from_ref(&entry)).to_vec();
        let batch = [header.encoded(), &table, payload].concat();
        append(&self.files.segment, &batch);
        append(&self.files.index, &table);
        self.end += len;
    }
}

impl Login {
    pub(crate) fn new(key_id: &str, serial: u64, ca: &str) -> Self {
        let opened_at = BootNs(3_600_000_000_000);
        let certificate = Certificate {
            serial: CertSerial::new(serial),
            key_id: key_id.to_owned(),
            ca_fingerprint: format!("SHA256:{ca}"),
            principals: vec!["deploy".to_owned()],
            valid_after: 0,
            valid_before: u64::MAX,
            blob: None,
            blob_too_large: false,
        };
        let opened = SessionOpened {
            login_user: "deploy".to_owned(),
            service: "sshd".to_owned(),
            auth: Auth {
                method: Some("publickey".to_owned()),
                certificate: Some(certificate),
                key_fingerprint: None,
                problem: None,
                unreadable_certificate: false,
            },
            source_ip: "192.0.2.7".parse().ok(),
            source_port: Some(51515),
            leader: process(LEADER),
            login_uid: Some(1000),
            stamp: Stamp::InTime,
            ..SessionOpened::unknown(SessionId::generate(), opened_at)
        };
        Self {
            opened,
            seq: 0,
            now: opened_at.0,
        }
    }

    pub(crate) fn id(&self) -> String {
        self.opened.id.to_string()
    }

    /// Skips a sequence number, as for a lost event.
    pub(crate) fn lose_one(&mut self) {
        self.seq += 1;
    }

    pub(crate) fn exec(&mut self, pid: u32, argv: &[&str]) -> Vec<u8> {
        let argv: Vec<u8> = argv
            .iter()
            .flat_map(|item| [item.as_bytes(), b"\0"].concat())
            .collect();
        let exe = b"/usr/bin/true";
        let len = size_of::<Exec>() + exe.len() * 2 + 1 + argv.len();
        let exec = Exec {
            header: self.header(wire::KIND_EXEC, pid, len),
            parent_start: process(LEADER).start.0,
            cgroup: 7001,
            exe_inode: 131_072,
            tid: pid,
            ppid: LEADER,
            ruid: 1000,
            euid: 1000,
            rgid: 1000,
            egid: 1000,
            auid: 1000,
            audit_session: 12,
            tty: 0,
            mount_ns: 1,
            pid_ns: 1,
            exe_device: 8 << 20 | 1,
            exe_links: 1,
            argc: 1,
            errno: 0,
            flags: 0,
            argv_true_len: u32::try_from(argv.len()).unwrap(),
            argv_len: u32::try_from(argv.len()).unwrap(),
            exe_len: 13,
            cwd_len: 1,
            filename_len: 13,
            comm: 0,
        };
        [exec.as_bytes(), exe, b"/", exe, &argv].concat()
    }

    pub(crate) fn exit(&mut self, pid: u32, code: u8) -> Vec<u8> {
        let exit = Exit {
            header: self.header(wire::KIND_EXIT, pid, size_of::<Exit>()),
            parent_start: process(LEADER).start.0,
            ppid: LEADER,
            status: u32::from(code) << 8,
            alive: 1,
            euid: 1000,
        };
        exit.as_bytes().to_vec()
    }

    fn header(&mut self, kind: u16, pid: u32, len: usize) -> Header {
        self.seq += 1;
        self.now += 1_000_000;
        Header {
            len: u32::try_from(len).unwrap(),
            kind,
            marked: wire::MARKED_LINEAGE,
            session: self.opened.id.mark(),
            session_seq: self.seq,
            cpu_seq: self.seq,
            at: self.now,
            tgid: pid,
            cpu: 0,
            start: process(pid).start.0,
        }
    }
}

fn process(tgid: u32) -> ProcessId {
    ProcessId {
        tgid,
        start: BootNs(3_599_000_000_000 + u64::from(tgid) * 1_000),
    }
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(bytes).unwrap();
}
