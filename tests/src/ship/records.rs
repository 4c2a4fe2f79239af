//! Records as the probe writes them, for a spool without a probe.

use vctl_common::id::SessionId;
use vctl_common::wire::{Exec, Exit, Header, KIND_EXEC, KIND_EXIT, MARKED_LINEAGE, UNSET};
use zerocopy::IntoBytes;

/// Returns an exec, or an exit for every second number.
pub(super) fn record(id: SessionId, seq: u64, at: u64) -> Vec<u8> {
    if seq.is_multiple_of(2) {
        return exit(id, seq, at, 0);
    }
    let argv = format!("rsync\0-a\0release-{seq}\0backup:/srv\0");
    exec(
        id,
        seq,
        at,
        [
            b"/usr/bin/rsync",
            b"/home/deploy",
            b"rsync",
            argv.as_bytes(),
        ],
    )
}

/// Returns an exit with this status of wait(2). With an even number, it ends the exec before it.
pub fn exit(id: SessionId, seq: u64, at: u64, status: u32) -> Vec<u8> {
    let exit = Exit {
        header: header(id, seq, at, KIND_EXIT, size_of::<Exit>()),
        parent_start: 1,
        ppid: 4242,
        status,
        alive: 1,
        euid: 1000,
    };
    exit.as_bytes().to_vec()
}

/// Returns an exec with these strings: executable, directory, file name, argv.
pub fn exec(id: SessionId, seq: u64, at: u64, strings: [&[u8]; 4]) -> Vec<u8> {
    let tail = strings.concat();
    let short = |text: &[u8]| u16::try_from(text.len()).unwrap_or(0);
    let argv_len = u32::try_from(strings[3].len()).unwrap_or(0);
    let exec = Exec {
        header: header(id, seq, at, KIND_EXEC, size_of::<Exec>() + tail.len()),
        parent_start: 1,
        cgroup: 7001,
        exe_inode: 1234,
        tid: 5000,
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
        argc: 4,
        errno: 0,
        flags: 0,
        argv_true_len: argv_len,
        argv_len,
        exe_len: short(strings[0]),
        cwd_len: short(strings[1]),
        filename_len: short(strings[2]),
        comm: 0,
    };
    [exec.as_bytes(), &tail].concat()
}

fn header(id: SessionId, seq: u64, at: u64, kind: u16, len: usize) -> Header {
    Header {
        len: u32::try_from(len).unwrap_or(0),
        kind,
        marked: MARKED_LINEAGE,
        session: id.mark(),
        session_seq: seq,
        cpu_seq: seq,
        at,
        tgid: 5000 + u32::try_from(seq.div_ceil(2) % 30_000).unwrap_or(0),
        cpu: 0,
        start: seq.div_ceil(2),
    }
}
