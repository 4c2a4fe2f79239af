//! One event as JSON.

use std::fmt;

use serde::{Serialize, Serializer};
use vctl_common::event::{Attribution, Device, EventKind, ExecEvent, ExitStatus, Phase};
use vctl_common::id::{AuditSessionId, ProcessId};

use crate::session::linux::{errno_name, signal_name};
use crate::session::model::Event;
use crate::ui::time;

#[derive(Serialize)]
pub(crate) struct EventJson<'a> {
    time: String,
    boot_ns: String,
    seq: u64,
    cpu: u32,
    cpu_seq: u64,
    attribution: &'static str,
    /// Whether the user, sshd or PAM did this.
    phase: &'static str,
    process: ProcessJson,
    #[serde(flatten)]
    kind: KindJson<'a>,
}

#[derive(Serialize)]
pub(crate) struct ProcessJson {
    pid: u32,
    start_boot_ns: String,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum KindJson<'a> {
    Exec(Box<ExecJson<'a>>),
    ExecFailed {
        errno: u32,
        errno_name: String,
        #[serde(flatten)]
        exec: Box<ExecJson<'a>>,
    },
    Exit {
        parent: ProcessJson,
        code: Option<u8>,
        signal: Option<u8>,
        signal_name: Option<String>,
        core_dumped: bool,
        /// Lifetime of the process, from its fork.
        duration_ns: String,
        euid: u32,
        alive: u32,
    },
    CgroupMove {
        from: String,
        to: String,
        by_pid: u32,
        by_mark: Option<String>,
    },
}

#[derive(Serialize)]
struct ExecJson<'a> {
    argv: Vec<Bytes<'a>>,
    argc: u32,
    argv_bytes: u32,
    argv_truncated: bool,
    over_budget: bool,
    argv_fault: bool,
    redacted: bool,
    exe: ExeJson<'a>,
    cwd: Bytes<'a>,
    cwd_truncated: bool,
    filename: Bytes<'a>,
    script: bool,
    tid: u32,
    parent: ProcessJson,
    ruid: u32,
    euid: u32,
    rgid: u32,
    egid: u32,
    login_uid: Option<u32>,
    audit_session: Option<AuditSessionId>,
    tty: Option<String>,
    cgroup: String,
    mount_ns: u32,
    pid_ns: u32,
    other_audit_session: bool,
    other_cgroup: bool,
}

#[derive(Serialize)]
struct ExeJson<'a> {
    path: Bytes<'a>,
    path_truncated: bool,
    device: String,
    inode: String,
    links: u32,
    memfd: bool,
    deleted: bool,
}

/// A string when the bytes are UTF-8, else `{"hex": "..."}`.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Raw<'a> {
            hex: Hex<'a>,
        }
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Raw { hex: Hex(self.0) }.serialize(serializer),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<'a> EventJson<'a> {
    pub(crate) fn new(event: &'a Event) -> Self {
        let kernel = &event.event;
        Self {
            time: time::nanos(event.time),
            boot_ns: kernel.at.0.to_string(),
            seq: kernel.session_seq,
            cpu: kernel.cpu,
            cpu_seq: kernel.cpu_seq,
            attribution: attribution(kernel.attribution),
            phase: phase(kernel.phase),
            process: ProcessJson::new(kernel.process),
            kind: match &kernel.kind {
                EventKind::Exec(exec) => KindJson::Exec(Box::new(ExecJson::new(exec))),
                EventKind::ExecFailed { errno, exec } => KindJson::ExecFailed {
                    errno: *errno,
                    errno_name: errno_name(*errno).into_owned(),
                    exec: Box::new(ExecJson::new(exec)),
                },
                EventKind::Exit(exit) => {
                    let (code, signal, core_dumped) = match exit.status {
                        ExitStatus::Code(code) => (Some(code), None, false),
                        ExitStatus::Signal {
                            signal,
                            core_dumped,
                        } => (None, Some(signal), core_dumped),
                    };
                    KindJson::Exit {
                        parent: ProcessJson::new(exit.parent),
                        code,
                        signal,
                        signal_name: signal.map(|signal| signal_name(signal).into_owned()),
                        core_dumped,
                        duration_ns: kernel.at.since(kernel.process.start).as_nanos().to_string(),
                        euid: exit.euid,
                        alive: exit.alive,
                    }
                }
                EventKind::CgroupMove(moved) => KindJson::CgroupMove {
                    from: moved.from.0.to_string(),
                    to: moved.to.0.to_string(),
                    by_pid: moved.by_tgid,
                    by_mark: moved.by_session.map(|mark| format!("{mark:016x}")),
                },
            },
        }
    }
}

impl ProcessJson {
    pub(crate) fn new(process: ProcessId) -> Self {
        Self {
            pid: process.tgid,
            start_boot_ns: process.start.0.to_string(),
        }
    }
}

impl<'a> ExecJson<'a> {
    fn new(exec: &'a ExecEvent) -> Self {
        let exe = &exec.exe;
        let Device { major, minor } = exe.device;
        Self {
            argv: exec.argv.iter().map(|item| Bytes(item)).collect(),
            argc: exec.argc,
            argv_bytes: exec.argv_true_len,
            argv_truncated: exec.argv_truncated,
            over_budget: exec.over_budget,
            argv_fault: exec.argv_fault,
            redacted: exec.redacted,
            exe: ExeJson {
                path: Bytes(&exe.path),
                path_truncated: exe.path_truncated,
                device: format!("{major}:{minor}"),
                inode: exe.inode.to_string(),
                links: exe.links,
                memfd: exe.memfd,
                deleted: exe.deleted,
            },
            cwd: Bytes(&exec.cwd),
            cwd_truncated: exec.cwd_truncated,
            filename: Bytes(&exec.filename),
            script: exec.script,
            tid: exec.tid,
            parent: ProcessJson::new(exec.parent),
            ruid: exec.ruid,
            euid: exec.euid,
            rgid: exec.rgid,
            egid: exec.egid,
            login_uid: exec.login_uid,
            audit_session: exec.audit_session,
            tty: exec.tty.map(|tty| tty.to_string()),
            cgroup: exec.cgroup.0.to_string(),
            mount_ns: exec.mount_ns,
            pid_ns: exec.pid_ns,
            other_audit_session: exec.other_audit_session,
            other_cgroup: exec.other_cgroup,
        }
    }
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::User => "user",
        Phase::LoginSetup => "login_setup",
        Phase::Logout => "logout",
    }
}

pub(crate) fn attribution(attribution: Attribution) -> &'static str {
    match attribution {
        Attribution::Lineage => "lineage",
        Attribution::AuditSession => "audit_session",
        Attribution::ProcessTree => "process_tree",
        Attribution::Unattributed => "unattributed",
    }
}
