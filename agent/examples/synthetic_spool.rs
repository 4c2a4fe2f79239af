//! Writes a spool of made-up sessions for the bench: `synthetic_spool DIR EVENTS SESSIONS`.
//!
//! All sessions have the same number of events, of some 300 bytes each. They overlap as on a busy
//! host: each batch holds events of many sessions. Serials are 1, 2, 3, ...; all sessions are
//! closed and complete. Prints the time of writing, without opening and closing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vctl_agent::spool::{BatchBuilder, SpoolConfig, SpoolWriter};
use vctl_common::id::{BootId, CertSerial, ProcessId, SessionId};
use vctl_common::session::{
    Auth, Certificate, CloseReason, JournalEntry, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::time::{BootNs, WallOffset, wall_now};
use vctl_common::wire::{Exec, Exit, Header, KIND_EXEC, KIND_EXIT, MARKED_LINEAGE, UNSET};
use zerocopy::IntoBytes;

/// Sessions that are open at a time.
const AT_A_TIME: u64 = 50;
/// Events of one session in one batch: with 25 ms between batches, a busy shell script.
const IN_A_BATCH: u64 = 16;
const SECOND: u64 = 1_000_000_000;

#[expect(clippy::print_stdout, reason = "an example that reports on stdout")]
fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: synthetic_spool DIR EVENTS SESSIONS";
    let dir = PathBuf::from(args.next().context(usage)?);
    let events: u64 = args.next().context(usage)?.parse().context(usage)?;
    let sessions: u64 = args.next().context(usage)?.parse().context(usage)?;
    ensure!(sessions > 0 && args.next().is_none(), usage);

    let config = SpoolConfig {
        dir,
        cap_bytes: 64 << 30,
        segment_bytes: 16 << 20,
        host: "synthetic".to_owned(),
        boot_id: "11111111-2222-4333-8444-555555555555".parse::<BootId>()?,
    };
    let (mut writer, _) = SpoolWriter::open(&config)?;
    let mut load = Load {
        batch: BatchBuilder::new(),
        wall: WallOffset::between(BootNs(100_000 * SECOND), wall_now()),
        now: 1000 * SECOND,
        pushing: Duration::ZERO,
    };
    let begun = Instant::now();
    let mut serial = 0;
    while serial < sessions {
        let group: Vec<_> = (serial..sessions.min(serial + AT_A_TIME))
            .map(|n| {
                let share = events / sessions + u64::from(n < events % sessions);
                (n + 1, SessionId::generate(), share)
            })
            .collect();
        serial += group.len() as u64;
        load.write(&mut writer, &group)?;
    }
    let written = begun.elapsed();
    writer.sync()?;
    let stats = writer.stats();
    let per_event = |time: Duration| time.as_nanos() / u128::from(events.max(1));
    println!(
        "{} events of {sessions} sessions in {} segments, {} bytes; {} ns per event, {} of them to \
         put it into its batch",
        stats.events_stored,
        stats.segments,
        stats.bytes,
        per_event(written),
        per_event(load.pushing),
    );
    Ok(())
}

struct Load {
    batch: BatchBuilder,
    wall: WallOffset,
    now: u64,
    pushing: Duration,
}

impl Load {
    fn write(
        &mut self,
        writer: &mut SpoolWriter,
        group: &[(u64, SessionId, u64)],
    ) -> anyhow::Result<()> {
        for &(serial, id, _) in group {
            self.now += SECOND;
            let opened = opened(serial, id, BootNs(self.now));
            self.batch
                .push_journal(&JournalEntry::Opened(Box::new(opened)))?;
        }
        writer.commit(&mut self.batch, None, self.wall)?;
        let longest = group.iter().map(|&(.., events)| events).max().unwrap_or(0);
        for first in (1..=longest).step_by(usize::try_from(IN_A_BATCH)?) {
            let pushing = Instant::now();
            for &(serial, id, events) in group {
                for seq in first..(first + IN_A_BATCH).min(events + 1) {
                    self.now += 500_000;
                    let record = record(id, seq, self.now);
                    self.batch
                        .push_event(id.mark(), CertSerial::new(serial), &record)?;
                }
            }
            self.pushing += pushing.elapsed();
            writer.commit(&mut self.batch, None, self.wall)?;
        }
        for &(_, id, events) in group {
            self.now += SECOND;
            self.batch
                .push_journal(&JournalEntry::Closed(SessionClosed {
                    id,
                    at: BootNs(self.now),
                    reason: CloseReason::LastProcessEnded,
                    produced: Some(events),
                    stored: events,
                    leader_ended_at: None,
                    requested: None,
                }))?;
        }
        writer.commit(&mut self.batch, None, self.wall)?;
        Ok(())
    }
}

fn opened(serial: u64, id: SessionId, at: BootNs) -> SessionOpened {
    SessionOpened {
        login_user: "deploy".to_owned(),
        service: "sshd".to_owned(),
        auth: Auth {
            method: Some("publickey".to_owned()),
            certificate: Some(Certificate {
                serial: CertSerial::new(serial),
                key_id: format!("person-{}@example.org", serial % 97),
                ca_fingerprint: "SHA256:uNiVztksCsDhcc0u9e8BrvnIX0uTtLFAZcKKPIXTR7E".to_owned(),
                principals: vec!["deploy".to_owned()],
                valid_after: 1_700_000_000,
                valid_before: 1_700_003_600,
                blob: None,
                blob_too_large: false,
            }),
            key_fingerprint: None,
            problem: None,
            unreadable_certificate: false,
        },
        leader: ProcessId {
            tgid: 4242,
            start: at,
        },
        login_uid: Some(1000),
        stamp: Stamp::InTime,
        ..SessionOpened::unknown(id, at)
    }
}

/// Returns an exec with its strings (some 500 bytes), or every second time its exit (80 bytes).
fn record(id: SessionId, seq: u64, at: u64) -> Vec<u8> {
    let exec = seq % 2 == 1;
    let [exe, cwd, filename] = ["/usr/bin/rsync", "/home/deploy/releases/current", "rsync"];
    let file = format!("release-{:0250}", seq / 2);
    let argv = format!("rsync\0-a\0--delete\0{file}\0backup:/srv/backup\0");
    let fixed = if exec {
        size_of::<Exec>()
    } else {
        size_of::<Exit>()
    };
    let strings = [exe, cwd, filename, &argv].concat();
    let len = fixed + if exec { strings.len() } else { 0 };
    let header = Header {
        len: u32::try_from(len).unwrap_or(0),
        kind: if exec { KIND_EXEC } else { KIND_EXIT },
        marked: MARKED_LINEAGE,
        session: id.mark(),
        session_seq: seq,
        cpu_seq: seq,
        at,
        tgid: 5000 + u32::try_from(seq.div_ceil(2) % 30_000).unwrap_or(0),
        cpu: 0,
        start: seq.div_ceil(2),
    };
    if !exec {
        let exit = Exit {
            header,
            parent_start: 1,
            ppid: 4242,
            status: 0,
            alive: 1,
            euid: 1000,
        };
        return exit.as_bytes().to_vec();
    }
    let short = |text: &str| u16::try_from(text.len()).unwrap_or(0);
    let exec = Exec {
        header,
        parent_start: 1,
        cgroup: 7001,
        exe_inode: 1234,
        tid: header.tgid,
        ppid: 4242,
        ruid: 1000,
        euid: 1000,
        rgid: 1000,
        egid: 1000,
        auid: 1000,
        audit_session: UNSET,
        tty: 0,
        mount_ns: 1,
        pid_ns: 1,
        exe_device: 8 << 20 | 1,
        exe_links: 1,
        argc: 5,
        errno: 0,
        flags: 0,
        argv_true_len: u32::try_from(argv.len()).unwrap_or(0),
        argv_len: u32::try_from(argv.len()).unwrap_or(0),
        exe_len: short(exe),
        cwd_len: short(cwd),
        filename_len: short(filename),
        comm: 0,
    };
    [exec.as_bytes(), strings.as_bytes()].concat()
}
