//! Proves at start that the probe reads the right data.
//!
//! A child of the agent is marked as a session of its own. It starts a second process, which gets
//! its mark at fork. The probe's records of that process's exec and exit are compared with /proc,
//! field by field. A wrong offset ends the agent with the field's name.

pub(super) mod failed_exec;
mod phase;
mod stand_out;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use vctl_common::event::{ExecTail, exec_tail, fixed, header};
use vctl_common::time::BootNs;
use vctl_common::wire::{self, Exec, Exit, SessionCounters, TaskMark};

use super::process_facts::Facts;
use super::{Maps, OWN_PROGRAM, ProbeError};
use crate::proc::reader::ProcReader;

/// No session id has this mark: the top bits of a UUID's low half are never 00.
pub(crate) const MARK: wire::Mark = 1;
const FIRST: &str = "probe-self-test-first";
const SECOND: &str = "probe-self-test-second";
/// Argv that only a list can represent: an empty item, and one that is not UTF-8.
const ARGV: [&[u8]; 4] = [SECOND.as_bytes(), b"", b"two words", b"\xff\xfe"];
const EXIT_CODE: u8 = 7;
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the child's part if the arguments are those of a self-test.
pub fn child(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let role = args.nth(1)?;
    let mut go = [0];
    match role.to_str()? {
        FIRST => {
            io::stdin().read_exact(&mut go).ok()?;
            phase::start_both()?;
            // The kernel closes it at exit; closing it earlier would hang up this process.
            std::mem::forget(stand_out::stand_out());
            let items = ARGV.iter().map(|item| OsString::from_vec(item.to_vec()));
            let status = Command::new(OWN_PROGRAM).args(items).status().ok()?;
            Some(if status.success() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        }
        SECOND => {
            // Waits until the agent has read /proc and closes the pipe.
            let _ = io::stdin().read(&mut go);
            Some(ExitCode::from(EXIT_CODE))
        }
        failed_exec::FAILS => Some(match failed_exec::fail_both() {
            Some(()) => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        }),
        role => phase::is_one(role).then_some(ExitCode::SUCCESS),
    }
}

/// Compares the probe's records of a known process, which `program` starts, with /proc.
///
/// # Errors
/// `SelfTest` names the first field that differs.
pub fn run(maps: &mut Maps, program: &Path) -> Result<(), ProbeError> {
    let counters = SessionCounters {
        alive: 1,
        ..SessionCounters::default()
    };
    maps.open_session(MARK, counters)?;
    let result = observe(maps, program);
    maps.close_session(MARK);
    result
}

fn observe(maps: &mut Maps, program: &Path) -> Result<(), ProbeError> {
    let failed = |what| move |source| ProbeError::SelfTestIo { what, source };
    let mut first = Guard(
        Command::new(program)
            .arg(FIRST)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(failed("start a child"))?,
    );
    let mark = TaskMark {
        session: MARK,
        start: 0,
        marked: wire::MARKED_LINEAGE,
        noted_exec: 0,
        role: wire::ROLE_LOGIN,
        groups: 0,
    };
    maps.mark_task(first.0.id(), mark)?;
    let mut stdin = first
        .0
        .stdin
        .take()
        .ok_or(ProbeError::SelfTestFailed { what: "no pipe" })?;
    stdin
        .write_all(b"g")
        .map_err(failed("tell the child to go on"))?;

    phase::observe(maps)?;
    // The first child may still be in its own exec when it is marked.
    let first_tgid = first.0.id();
    let bytes = wait_for(maps, |bytes| {
        header(bytes).is_ok_and(|h| h.kind == wire::KIND_EXEC && h.tgid != first_tgid)
    })
    .ok_or(ProbeError::SelfTestFailed {
        what: "a marked child started a program, but the probe wrote no record of it",
    })?;
    let exec: Exec = fixed(&bytes).map_err(|_| ProbeError::SelfTestFailed {
        what: "a short record",
    })?;
    let tail = exec_tail(&exec, &bytes).map_err(|_| ProbeError::SelfTestFailed {
        what: "a record with a wrong tail",
    })?;
    let facts = Facts::read(exec.header.tgid).map_err(failed("read /proc"))?;
    compare_exec(&exec, &tail, &facts, first_tgid)?;

    drop(stdin);
    let tgid = exec.header.tgid;
    let bytes = wait_for(maps, |bytes| {
        header(bytes).is_ok_and(|header| header.kind == wire::KIND_EXIT && header.tgid == tgid)
    })
    .ok_or(ProbeError::SelfTestFailed {
        what: "a marked process ended, but the probe wrote no record of it",
    })?;
    let exit: Exit = fixed(&bytes).map_err(|_| ProbeError::SelfTestFailed {
        what: "a short record",
    })?;
    compare_exit(&exit, &exec)?;
    let status = first.0.wait().map_err(failed("wait for the child"))?;
    if !status.success() {
        return Err(ProbeError::SelfTestFailed {
            what: "the child failed",
        });
    }
    // Its exit is still in the ring and must not count as a user's.
    wait_for(maps, |bytes| {
        header(bytes).is_ok_and(|h| h.tgid == first_tgid)
    });
    Ok(())
}

/// Ends the child in any case.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the ring until a record matches, and returns the space up to its end.
fn wait_for(maps: &Maps, fits: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let mut found = None;
        let mut at = maps.ring.position();
        while found.is_none() {
            let part = maps.ring.read(at, 1, |bytes| {
                if fits(bytes) {
                    found = Some(bytes.to_vec());
                }
            });
            if part.to == at {
                break;
            }
            at = part.to;
        }
        maps.ring.give_back(at);
        if found.is_some() {
            return found;
        }
        // Short, because the agent's start consists mostly of this wait.
        sleep(Duration::from_micros(200));
    }
    None
}

fn compare_exec(
    exec: &Exec,
    tail: &ExecTail<'_>,
    facts: &Facts,
    parent: u32,
) -> Result<(), ProbeError> {
    let proc = ProcReader::host();
    let ticks = |ns: u64| proc.ticks(BootNs(ns));
    let own_start = proc.stat(parent).map_or(0, |stat| stat.start_ticks);
    same(
        "task_struct.start_boottime",
        ticks(exec.header.start),
        facts.stat.start_ticks,
    )?;
    same("task_struct.real_parent", exec.ppid, parent)?;
    same(
        "task_struct.real_parent (start)",
        ticks(exec.parent_start),
        own_start,
    )?;
    same("task_struct.tgid", exec.tid, exec.header.tgid)?;
    same("cred.uid", exec.ruid, facts.uids[0])?;
    same("cred.euid", exec.euid, facts.uids[1])?;
    same("cred.gid", exec.rgid, facts.gids[0])?;
    same("cred.egid", exec.egid, facts.gids[1])?;
    let name = facts.comm.get(..2).unwrap_or_default();
    same_bytes("task_struct.comm", &exec.comm.to_ne_bytes(), name)?;
    same("task_struct.loginuid", exec.auid, facts.login_uid)?;
    same(
        "task_struct.sessionid",
        exec.audit_session,
        facts.audit_session,
    )?;
    same("signal_struct.tty", exec.tty, facts.tty)?;
    same("mnt_namespace.ns", u64::from(exec.mount_ns), facts.mount_ns)?;
    same("pid_namespace.ns", u64::from(exec.pid_ns), facts.pid_ns)?;
    let place = (
        exec.exe_device >> 20,
        exec.exe_device & 0xf_ffff,
        exec.exe_inode,
    );
    if !facts.exe_places.contains(&place) {
        return same(
            "inode.i_ino, super_block.s_dev",
            format!("{place:?}"),
            format!("{:?}", facts.exe_places),
        );
    }
    same("inode.i_nlink", u64::from(exec.exe_links), facts.exe_links)?;
    same_bytes(
        "file.f_path",
        &crate::enrich::path(tail.exe),
        facts.exe.as_os_str().as_bytes(),
    )?;
    same_bytes(
        "fs_struct.pwd",
        &crate::enrich::path(tail.cwd),
        facts.cwd.as_os_str().as_bytes(),
    )?;
    same_bytes(
        "linux_binprm.filename",
        tail.filename,
        OWN_PROGRAM.as_bytes(),
    )?;
    same("linux_binprm.argc", exec.argc as usize, ARGV.len() + 1)?;
    same_bytes("mm_struct.arg_start", tail.argv, &facts.cmdline)?;
    same(
        "mm_struct.arg_end",
        exec.argv_true_len as usize,
        facts.cmdline.len(),
    )?;
    match facts.cgroup {
        Some(cgroup) => same("bpf_get_current_cgroup_id", exec.cgroup, cgroup),
        None => Ok(()),
    }
}

fn compare_exit(exit: &Exit, exec: &Exec) -> Result<(), ProbeError> {
    same(
        "signal_struct.group_exit_code",
        exit.status,
        u32::from(EXIT_CODE) << 8,
    )?;
    same(
        "task_struct.group_leader",
        exit.header.start,
        exec.header.start,
    )?;
    same("task_struct.real_parent", exit.ppid, exec.ppid)?;
    same("cred.euid", exit.euid, exec.euid)?;
    same("session (processes alive)", exit.alive, 1)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "twenty callers read better without references"
)]
fn same<T: PartialEq + std::fmt::Debug>(
    field: &'static str,
    found: T,
    expected: T,
) -> Result<(), ProbeError> {
    if found == expected {
        return Ok(());
    }
    Err(ProbeError::SelfTest {
        field,
        found: format!("{found:?}"),
        expected: format!("{expected:?}"),
    })
}

/// As `same`; the wrong bytes may be long, and may be any memory of the kernel.
fn same_bytes(field: &'static str, found: &[u8], expected: &[u8]) -> Result<(), ProbeError> {
    const SHOWN: usize = 64;
    if found == expected {
        return Ok(());
    }
    let shown = |bytes: &[u8]| match bytes.get(..SHOWN) {
        Some(begin) => format!("`{}`... ({} bytes)", begin.escape_ascii(), bytes.len()),
        None => format!("`{}`", bytes.escape_ascii()),
    };
    Err(ProbeError::SelfTest {
        field,
        found: shown(found),
        expected: shown(expected),
    })
}
