//! One kernel event, decoded and owned: the form for readers and stores.

use crate::id::{AuditSessionId, CgroupId, ProcessId};
use crate::time::BootNs;
use crate::wire::{self, CgroupMove, Exec, Exit, Header};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// The event's kind, process, and position in the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelEvent {
    pub process: ProcessId,
    /// Position in the session: 1, 2, 3, ...
    pub session_seq: u64,
    pub cpu: u32,
    pub cpu_seq: u64,
    pub at: BootNs,
    pub attribution: Attribution,
    pub phase: Phase,
    pub kind: EventKind,
}

/// The phase of a session that an event belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Work of the user: all processes below the one that sshd gave to the user. Old agents record
    /// no phases; all their events are in this one.
    #[default]
    User,
    /// Work of sshd and PAM before the user's process starts.
    LoginSetup,
    /// Work of sshd and PAM after the user's process has started.
    Logout,
}

impl Phase {
    pub fn is_users(self) -> bool {
        self == Self::User
    }

    fn from_wire(bits: u32) -> Self {
        match bits & wire::PHASE_MASK {
            wire::PHASE_LOGIN_SETUP => Self::LoginSetup,
            wire::PHASE_LOGOUT => Self::Logout,
            // Work of an unknown phase counts as the user's.
            _ => Self::User,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    Exec(Box<ExecEvent>),
    /// A failed attempt; `errno` says why the program did not start.
    ExecFailed {
        errno: u32,
        exec: Box<ExecEvent>,
    },
    Exit(ExitEvent),
    CgroupMove(CgroupMoveEvent),
}

/// Evidence that the process belongs to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// The login was marked, and each fork passed the mark to the child.
    Lineage,
    /// Rebuilt from the kernel's audit session id.
    AuditSession,
    /// Rebuilt from the process tree.
    ProcessTree,
    /// No session owns it.
    Unattributed,
}

/// An executed program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecEvent {
    /// Empty items and bytes that are not UTF-8 stay as they are.
    pub argv: Vec<Vec<u8>>,
    /// Size of argv in the process, with the NUL of each item.
    pub argv_true_len: u32,
    pub argc: u32,
    pub argv_truncated: bool,
    /// Argv or a path was cut because the session or its account exceeded its byte budget.
    pub over_budget: bool,
    /// A part of argv was not in memory.
    pub argv_fault: bool,
    /// Secrets were masked byte by byte before the event was written.
    pub redacted: bool,
    pub exe: Executable,
    pub cwd: Vec<u8>,
    pub cwd_truncated: bool,
    /// The file name given to the kernel; for a script, the name of the script.
    pub filename: Vec<u8>,
    /// `filename` is a script, and `exe` is its interpreter.
    pub script: bool,
    /// The thread that called exec.
    pub tid: u32,
    pub parent: ProcessId,
    pub ruid: u32,
    pub euid: u32,
    pub rgid: u32,
    pub egid: u32,
    pub login_uid: Option<u32>,
    pub audit_session: Option<AuditSessionId>,
    pub tty: Option<Tty>,
    pub cgroup: CgroupId,
    pub mount_ns: u32,
    pub pid_ns: u32,
    /// The audit session id differs from that of the session's login.
    pub other_audit_session: bool,
    /// The process is in the cgroup of another session.
    pub other_cgroup: bool,
}

/// The executed file: names can be misleading, device and inode are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executable {
    pub path: Vec<u8>,
    pub path_truncated: bool,
    pub device: Device,
    pub inode: u64,
    pub links: u32,
    pub memfd: bool,
    pub deleted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
}

impl Device {
    fn from_kernel(raw: u32) -> Self {
        Self {
            major: raw >> 20,
            minor: raw & 0xf_ffff,
        }
    }
}

/// A controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tty(pub Device);

impl std::fmt::Display for Tty {
    /// Writes the name that ps(1) shows: `pts/3`, `tty1`, `ttyS0`, otherwise the device number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.major, self.0.minor) {
            // Unix98 slaves: eight majors of 256 here, up to 2^20 on one major elsewhere.
            (major @ 136..=143, minor) => write!(f, "pts/{}", (major - 136) * 256 + minor),
            (4, minor @ 0..=63) => write!(f, "tty{minor}"),
            (4, minor) => write!(f, "ttyS{}", minor - 64),
            (5, 1) => write!(f, "console"),
            (major, minor) => write!(f, "{major}:{minor}"),
        }
    }
}

/// The end of a process, as wait(2) reports it to the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitEvent {
    pub parent: ProcessId,
    pub status: ExitStatus,
    pub euid: u32,
    /// Number of processes left in the session.
    pub alive: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Code(u8),
    Signal { signal: u8, core_dumped: bool },
}

impl ExitStatus {
    pub fn from_wait(status: u32) -> Self {
        let low = status.to_le_bytes();
        match low[0] & 0x7f {
            0 => Self::Code(low[1]),
            signal => Self::Signal {
                signal,
                core_dumped: low[0] & 0x80 != 0,
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupMoveEvent {
    pub from: CgroupId,
    pub to: CgroupId,
    /// Mark of the session whose process requested the move.
    pub by_session: Option<wire::Mark>,
    pub by_tgid: u32,
}

/// The bytes are not a valid record. Carries the data needed to find them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("record of {len} bytes is shorter than the {needs} bytes it needs")]
    Truncated { len: usize, needs: usize },
    #[error("record kind {kind} is unknown")]
    UnknownKind { kind: u16 },
    #[error("record of {len} bytes states a length of {says}")]
    WrongLength { len: usize, says: usize },
    #[error("strings of {strings} bytes do not fill a tail of {tail}")]
    WrongTail { tail: usize, strings: usize },
}

/// Reads the header of a record.
///
/// # Errors
/// `Truncated` when the bytes are fewer than a header has.
pub fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    fixed::<Header>(bytes)
}

/// Reads the fixed part `T` at the beginning of `bytes`.
pub fn fixed<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<T, DecodeError> {
    T::read_from_prefix(bytes)
        .map(|(record, _)| record)
        .map_err(|_| DecodeError::Truncated {
            len: bytes.len(),
            needs: size_of::<T>(),
        })
}

/// The byte strings behind the fixed part of an exec record.
#[derive(Clone, Copy, Debug)]
pub struct ExecTail<'a> {
    pub exe: &'a [u8],
    pub cwd: &'a [u8],
    pub filename: &'a [u8],
    pub argv: &'a [u8],
}

/// Splits the tail of an exec record into its strings.
///
/// # Errors
/// `WrongTail` when the lengths in the record do not add up to the length of the tail.
pub fn exec_tail<'a>(exec: &Exec, bytes: &'a [u8]) -> Result<ExecTail<'a>, DecodeError> {
    let tail = bytes.get(size_of::<Exec>()..).unwrap_or_default();
    let lengths = [
        usize::from(exec.exe_len),
        usize::from(exec.cwd_len),
        usize::from(exec.filename_len),
        exec.argv_len as usize,
    ];
    let wrong = DecodeError::WrongTail {
        tail: tail.len(),
        strings: lengths.iter().sum(),
    };
    let (exe, rest) = tail.split_at_checked(lengths[0]).ok_or(wrong)?;
    let (cwd, rest) = rest.split_at_checked(lengths[1]).ok_or(wrong)?;
    let (filename, argv) = rest.split_at_checked(lengths[2]).ok_or(wrong)?;
    if argv.len() != lengths[3] {
        return Err(wrong);
    }
    Ok(ExecTail {
        exe,
        cwd,
        filename,
        argv,
    })
}

/// Decodes one record of the spool. `bytes` is exactly the record.
///
/// # Errors
/// The bytes are not a valid record. Never panics.
pub fn decode(bytes: &[u8]) -> Result<KernelEvent, DecodeError> {
    let header = header(bytes)?;
    if header.len as usize != bytes.len() {
        return Err(DecodeError::WrongLength {
            len: bytes.len(),
            says: header.len as usize,
        });
    }
    let phase = match header.kind {
        wire::KIND_EXEC | wire::KIND_EXEC_FAILED => {
            fixed::<Exec>(bytes)?.flags >> wire::EXEC_PHASE_SHIFT
        }
        wire::KIND_EXIT => fixed::<Exit>(bytes)?.status >> wire::EXIT_PHASE_SHIFT,
        wire::KIND_CGROUP_MOVE => fixed::<CgroupMove>(bytes)?.phase,
        kind => return Err(DecodeError::UnknownKind { kind }),
    };
    let kind = match header.kind {
        wire::KIND_EXEC => EventKind::Exec(Box::new(exec_event(bytes)?.1)),
        wire::KIND_EXEC_FAILED => {
            let (errno, exec) = exec_event(bytes)?;
            EventKind::ExecFailed {
                errno,
                exec: Box::new(exec),
            }
        }
        wire::KIND_EXIT => EventKind::Exit(exit_event(&fixed(bytes)?)),
        wire::KIND_CGROUP_MOVE => EventKind::CgroupMove(cgroup_move_event(&fixed(bytes)?)),
        kind => return Err(DecodeError::UnknownKind { kind }),
    };
    Ok(KernelEvent {
        process: ProcessId {
            tgid: header.tgid,
            start: BootNs(header.start),
        },
        session_seq: header.session_seq,
        cpu: header.cpu,
        cpu_seq: header.cpu_seq,
        at: BootNs(header.at),
        attribution: match header.marked {
            wire::MARKED_LINEAGE => Attribution::Lineage,
            wire::MARKED_AUDIT_SESSION => Attribution::AuditSession,
            wire::MARKED_TREE => Attribution::ProcessTree,
            _ => Attribution::Unattributed,
        },
        phase: Phase::from_wire(phase),
        kind,
    })
}

fn exec_event(bytes: &[u8]) -> Result<(u32, ExecEvent), DecodeError> {
    let exec: Exec = fixed(bytes)?;
    let tail = exec_tail(&exec, bytes)?;
    let flag = |bit: u32| exec.flags & bit != 0;
    let event = ExecEvent {
        argv: split_argv(tail.argv),
        argv_true_len: exec.argv_true_len,
        argc: exec.argc,
        argv_truncated: flag(wire::EXEC_ARGV_TRUNCATED),
        over_budget: flag(wire::EXEC_OVER_BUDGET),
        argv_fault: flag(wire::EXEC_ARGV_FAULT),
        redacted: flag(wire::EXEC_REDACTED),
        exe: Executable {
            path: tail.exe.to_vec(),
            path_truncated: flag(wire::EXEC_EXE_TRUNCATED),
            device: Device::from_kernel(exec.exe_device),
            inode: exec.exe_inode,
            links: exec.exe_links,
            memfd: flag(wire::EXEC_MEMFD),
            deleted: flag(wire::EXEC_DELETED),
        },
        cwd: tail.cwd.to_vec(),
        cwd_truncated: flag(wire::EXEC_CWD_TRUNCATED),
        filename: tail.filename.to_vec(),
        script: flag(wire::EXEC_SCRIPT),
        tid: exec.tid,
        parent: ProcessId {
            tgid: exec.ppid,
            start: BootNs(exec.parent_start),
        },
        ruid: exec.ruid,
        euid: exec.euid,
        rgid: exec.rgid,
        egid: exec.egid,
        login_uid: (exec.auid != wire::UNSET).then_some(exec.auid),
        audit_session: AuditSessionId::new(exec.audit_session),
        tty: (exec.tty != 0).then(|| Tty(Device::from_kernel(exec.tty))),
        cgroup: CgroupId(exec.cgroup),
        mount_ns: exec.mount_ns,
        pid_ns: exec.pid_ns,
        other_audit_session: flag(wire::EXEC_OTHER_AUDIT_SESSION),
        other_cgroup: flag(wire::EXEC_OTHER_CGROUP),
    };
    Ok((exec.errno, event))
}

/// Splits argv as it lies in memory: each item ends with NUL, so two in a row mean an empty item. A
/// last item without NUL was cut; the rest of it is returned.
fn split_argv(argv: &[u8]) -> Vec<Vec<u8>> {
    let whole = argv.strip_suffix(b"\0").unwrap_or(argv);
    if argv.is_empty() {
        return Vec::new();
    }
    whole.split(|&b| b == 0).map(<[u8]>::to_vec).collect()
}

fn exit_event(exit: &Exit) -> ExitEvent {
    ExitEvent {
        parent: ProcessId {
            tgid: exit.ppid,
            start: BootNs(exit.parent_start),
        },
        status: ExitStatus::from_wait(exit.status),
        euid: exit.euid,
        alive: exit.alive,
    }
}

fn cgroup_move_event(moved: &CgroupMove) -> CgroupMoveEvent {
    CgroupMoveEvent {
        from: CgroupId(moved.from),
        to: CgroupId(moved.to),
        by_session: (moved.by_session != 0).then_some(moved.by_session),
        by_tgid: moved.by_tgid,
    }
}

#[cfg(test)]
mod tests;
