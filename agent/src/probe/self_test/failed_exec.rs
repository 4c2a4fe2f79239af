//! The part of the self-test that proves that a failed exec is recorded.
//!
//! It runs after the start, when the ring may have records of sessions: it reads the ring and leaves everything in it.
//! The collector skips records of this session.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::execveat;
use vctl_common::event::{exec_tail, fixed, header};
use vctl_common::wire::{self, Exec, SessionCounters, TaskMark};

use super::{Guard, MARK, same, same_bytes};
use crate::probe::{Maps, ProbeError};

pub(super) const FAILS: &str = "probe-self-test-fails";

/// No directory has this name, because its parent is a file.
const NOWHERE: &str = "/proc/self/exe/probe-self-test";
const ERROR: Errno = Errno::ENOTDIR;
const ARGV: [&[u8]; 4] = [b"probe-self-test", b"", b"two words", b"\xff\xfe"];

/// Fails to execute a program with both system calls.
pub(super) fn fail_both() -> Option<()> {
    let mut go = [0];
    io::stdin().read_exact(&mut go).ok()?;
    let [name, arguments @ ..] = ARGV.map(|item| OsString::from_vec(item.to_vec()));
    let error = Command::new(NOWHERE).arg0(name).args(arguments).exec();
    (error.raw_os_error() == Some(ERROR as i32)).then_some(())?;
    let argv = ARGV.map(|item| CString::new(item).unwrap_or_default());
    let path = CString::new(NOWHERE).ok()?;
    let environment: [CString; 0] = [];
    let result: nix::Result<Infallible> =
        execveat(AT_FDCWD, &path, &argv, &environment, AtFlags::empty());
    (result == Err(ERROR)).then_some(())
}

/// Compares the records of two failed execs, which `program` makes, with the call.
///
/// # Errors
/// `SelfTest` names the first field that differs, `SelfTestFailed` a record that is missing.
pub(in crate::probe) fn run(maps: &mut Maps, program: &Path) -> Result<(), ProbeError> {
    let counters = SessionCounters {
        alive: 1,
        user_began: 1,
        ..SessionCounters::default()
    };
    maps.open_session(MARK, counters)?;
    let result = observe(maps, program);
    maps.close_session(MARK);
    result
}

fn observe(maps: &mut Maps, program: &Path) -> Result<(), ProbeError> {
    let failed = |what| move |source| ProbeError::SelfTestIo { what, source };
    let from = maps.ring.position() + maps.ring.backlog();
    let mut child = Guard(
        Command::new(program)
            .arg(FAILS)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(failed("start a child"))?,
    );
    let tgid = child.0.id();
    let mark = TaskMark {
        session: MARK,
        start: 0,
        marked: wire::MARKED_LINEAGE,
        noted_exec: 0,
        role: wire::ROLE_USER,
        groups: 0,
    };
    maps.mark_task(tgid, mark)?;
    let mut stdin = child.0.stdin.take();
    let stdin = stdin
        .as_mut()
        .ok_or(ProbeError::SelfTestFailed { what: "no pipe" })?;
    stdin
        .write_all(b"g")
        .map_err(failed("tell the child to go on"))?;
    // A record is in the ring before its system call returns, so a missing one needs no waiting.
    let status = child.0.wait().map_err(failed("wait for the child"))?;
    if !status.success() {
        return Err(ProbeError::SelfTestFailed {
            what: "the child failed",
        });
    }
    let mut records = Vec::new();
    maps.ring.read(from, u64::MAX, |bytes| {
        let is_own = |header: wire::Header| {
            header.kind == wire::KIND_EXEC_FAILED && (header.session, header.tgid) == (MARK, tgid)
        };
        if header(bytes).is_ok_and(is_own) {
            records.push(bytes.to_vec());
        }
    });
    // One of execve(2), one of execveat(2).
    if records.len() != 2 {
        return Err(ProbeError::SelfTestFailed {
            what: "a marked child failed to execute a program twice, but the probe did not write two records",
        });
    }
    records.iter().try_for_each(|record| compare(record))
}

fn compare(bytes: &[u8]) -> Result<(), ProbeError> {
    let exec: Exec = fixed(bytes).map_err(|_| ProbeError::SelfTestFailed {
        what: "a short record",
    })?;
    let tail = exec_tail(&exec, bytes).map_err(|_| ProbeError::SelfTestFailed {
        what: "a record with a wrong tail",
    })?;
    same("result of execve", exec.errno, ERROR as u32)?;
    same_bytes("pt_regs (file name)", tail.filename, NOWHERE.as_bytes())?;
    let argv: Vec<u8> = ARGV
        .iter()
        .flat_map(|item| [item, &b"\0"[..]].concat())
        .collect();
    same_bytes("pt_regs (argv)", tail.argv, &argv)
}
