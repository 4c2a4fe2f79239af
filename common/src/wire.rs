//! Records in the form that the probe writes to the ring and the spool stores.
//!
//! Besides [`crate::layout`], this is the only module that is built for BPF. Every field is an
//! integer, so all bytes are a valid value of the type; `event` decides what a number means (an
//! `Option`, an enum). The byte order is the machine's: ring and spool never leave it in this form.
//!
//! A record is a [`Header`], the fixed part of its kind, and for exec a tail of byte strings. Its
//! `len` counts all of them, without padding.

/// Changes with the format or meaning of a record or a pinned map, and with the probes that may be pinned. An agent
/// refuses pinned state of a newer version: that of version 4 may watch failed execs by probes that version 3 does not
/// know, and version 3 would record them twice.
pub const VERSION: u32 = 4;

/// The oldest version whose pinned state is taken over. Records and maps are those of [`VERSION`].
pub const OLDEST_VERSION: u32 = 3;

/// A session's number in the kernel: the low half of its id. 0 means no session.
pub type Mark = u64;

pub const KIND_EXEC: u16 = 1;
pub const KIND_EXIT: u16 = 2;
pub const KIND_EXEC_FAILED: u16 = 3;
pub const KIND_CGROUP_MOVE: u16 = 4;

/// Most bytes of argv that are recorded for one exec.
pub const ARGV_MAX: usize = 128 * 1024;
/// Most bytes of an executable path, a working directory or a file name.
pub const PATH_MAX: usize = 4096;
/// The kernel's "not set" for a login uid and an audit session id.
pub const UNSET: u32 = u32::MAX;

/// Beginning of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Header {
    /// Length of the whole record in bytes, without the padding to 8 that the ring adds.
    pub len: u32,
    /// One of `KIND_*`.
    pub kind: u16,
    /// How the process got its mark: one of `MARKED_*`.
    pub marked: u16,
    /// 0 for a process outside every session (`capture: all`).
    pub session: Mark,
    /// 1, 2, 3, ... within the session; a missing number is a lost event.
    pub session_seq: u64,
    /// 1, 2, 3, ... on this CPU, over all sessions.
    pub cpu_seq: u64,
    /// Nanoseconds of the boot clock.
    pub at: u64,
    /// Thread group; users call it the pid.
    pub tgid: u32,
    pub cpu: u32,
    /// Start of the thread group leader, in nanoseconds of the boot clock. Together with `tgid` it
    /// identifies a process until the next boot.
    pub start: u64,
}

/// The stamper marked the login, and each fork passed the mark to the child.
pub const MARKED_LINEAGE: u16 = 0;
/// The mark was rebuilt from the kernel's audit session id after a restart or a missed fork.
pub const MARKED_AUDIT_SESSION: u16 = 1;
/// The mark was rebuilt from the process tree: the login was stamped late and has no audit session.
pub const MARKED_TREE: u16 = 2;
/// No mark: recorded because the whole host is recorded.
pub const MARKED_NOT: u16 = 3;

/// A program was executed, or could not be (`KIND_EXEC_FAILED`).
///
/// The tail holds, without separators: executable path, working directory, file name as given to
/// the kernel, argv. In the ring the two paths are leaf first (`true`, `bin`, `usr`, each followed
/// by NUL); in the spool they are ordinary paths. Argv is the items, each followed by NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Exec {
    pub header: Header,
    pub parent_start: u64,
    pub cgroup: u64,
    pub exe_inode: u64,
    /// The thread that called exec; from then on its id is the pid.
    pub tid: u32,
    pub ppid: u32,
    pub ruid: u32,
    pub euid: u32,
    pub rgid: u32,
    pub egid: u32,
    /// Login uid, `UNSET` if not set.
    pub auid: u32,
    /// The kernel's audit session id, `UNSET` if not set.
    pub audit_session: u32,
    /// Device number of the controlling terminal as `major << 20 | minor`, 0 for none.
    pub tty: u32,
    pub mount_ns: u32,
    pub pid_ns: u32,
    /// Device of the executable as `major << 20 | minor`.
    pub exe_device: u32,
    pub exe_links: u32,
    pub argc: u32,
    /// 0, or the errno of a failed exec.
    pub errno: u32,
    /// `EXEC_*` bits.
    pub flags: u32,
    /// Size of argv in the process, even if less is recorded.
    pub argv_true_len: u32,
    pub argv_len: u32,
    pub exe_len: u16,
    pub cwd_len: u16,
    pub filename_len: u16,
    /// First two bytes of the task's name, 0 with a failed exec. The self-test uses it to prove the
    /// offset of the name, by which the probe recognises sshd.
    pub comm: u16,
}

/// Argv was longer than the recorded part.
pub const EXEC_ARGV_TRUNCATED: u32 = 1 << 0;
/// A part of argv was not in memory and is missing.
pub const EXEC_ARGV_FAULT: u32 = 1 << 1;
/// The path of the executable is longer than the recorded part.
pub const EXEC_EXE_TRUNCATED: u32 = 1 << 2;
pub const EXEC_CWD_TRUNCATED: u32 = 1 << 3;
/// The kernel started an interpreter for a script: `filename` is the script.
pub const EXEC_SCRIPT: u32 = 1 << 4;
/// The executable has no name in any file system: memfd.
pub const EXEC_MEMFD: u32 = 1 << 5;
/// The executable had been unlinked before it was executed.
pub const EXEC_DELETED: u32 = 1 << 6;
/// Position of the `PHASE_*` in the flags of an exec. The database counts commands by these two
/// bits (`vctl.is_users_exec`).
pub const EXEC_PHASE_SHIFT: u32 = 8;
/// Set by the agent: redaction masked something in argv.
pub const EXEC_REDACTED: u32 = 1 << 16;
/// Set by the agent: the audit session id differs from that of the session's login.
pub const EXEC_OTHER_AUDIT_SESSION: u32 = 1 << 17;
/// Set by the agent: the process is in the cgroup of another session.
pub const EXEC_OTHER_CGROUP: u32 = 1 << 18;

/// Set by the agent: argv or a path was cut because the session or its account exceeded its byte
/// budget.
pub const EXEC_OVER_BUDGET: u32 = 1 << 19;

/// A process ended; one record for the whole thread group.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct Exit {
    pub header: Header,
    pub parent_start: u64,
    pub ppid: u32,
    /// In the format of wait(2): code in bits 8 to 15, core flag in bit 7, signal in bits 0 to 6. A
    /// `PHASE_*` in bits 16 and 17.
    pub status: u32,
    /// Number of processes of the session that are still alive; 0 ends the session.
    pub alive: u32,
    /// Effective user at the end.
    pub euid: u32,
}

/// A process of a session was moved to another cgroup of the v2 hierarchy.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct CgroupMove {
    pub header: Header,
    pub from: u64,
    pub to: u64,
    /// Session of the process that requested the move; 0 if it has none.
    pub by_session: Mark,
    pub by_tgid: u32,
    /// One of `PHASE_*`.
    pub phase: u32,
}

/// Bits that hold a `PHASE_*`.
pub const PHASE_MASK: u32 = 3;
/// Work of the user, and all work recorded by agents that do not record phases.
pub const PHASE_USER: u32 = 0;
/// Work of sshd and PAM before the user's process.
pub const PHASE_LOGIN_SETUP: u32 = 1;
/// Work of sshd and PAM after the user's process has started.
pub const PHASE_LOGOUT: u32 = 2;
/// Position of the `PHASE_*` in the status of an exit.
pub const EXIT_PHASE_SHIFT: u32 = 16;

/// The kernel's data about one process of a session; value of the map `tasks`, keyed by tgid.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct TaskMark {
    pub session: Mark,
    /// Start of the process, to detect a reused pid. 0 means that it is not known yet; the first
    /// probe that sees the process sets it.
    pub start: u64,
    /// One of `MARKED_*`.
    pub marked: u16,
    /// The last exec of which a record was written, as the low bits of the kernel's number of it with [`EXEC_NOTED`]; 0
    /// for none. Only a probe with two copies writes it.
    pub noted_exec: u16,
    /// One of `ROLE_*`.
    pub role: u32,
    /// Address of the supplementary groups that sshd's login process had at the fork; for
    /// `ROLE_UNDECIDED` only. The process's own address is equal until it sets its groups.
    pub groups: u64,
}

/// Set in each `noted_exec` that is not empty.
pub const EXEC_NOTED: u16 = 1 << 15;

/// A process of the user, and every process of a login that is not sshd's.
pub const ROLE_USER: u32 = 0;
/// sshd's login process, in which PAM runs.
pub const ROLE_LOGIN: u32 = 1;
/// A child of sshd's login process that has neither the user's identity nor executed a program yet.
pub const ROLE_UNDECIDED: u32 = 2;
/// A program that sshd or PAM executed before the user's process, and its children.
pub const ROLE_SETUP: u32 = 3;
/// A program that sshd or PAM executed after the user's process had started, and its children.
pub const ROLE_LOGOUT: u32 = 4;

/// The kernel's counters of one session; value of the map `sessions`, keyed by mark.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct SessionCounters {
    /// Last session sequence number: the number of events that should be stored.
    pub seq: u64,
    /// Marked processes alive.
    pub alive: u64,
    /// Events for which the ring had no room.
    pub lost: u64,
    /// Boot clock of the first and the last of these events. No program reads them; they go with the next `VERSION`.
    pub lost_first: u64,
    pub lost_last: u64,
    /// Forks whose child got no mark because the map was full.
    pub unmarked_forks: u64,
    /// 1 once a child of sshd's login process has taken the user's identity.
    pub user_began: u64,
}

/// A login that sshd opened and that had no mark at its first fork; value of the map `logins`,
/// keyed by audit session id.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "std",
    derive(
        zerocopy::FromBytes,
        zerocopy::IntoBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout
    )
)]
pub struct SeenLogin {
    /// Boot clock at the first fork.
    pub at: u64,
    /// Start of the login's process (sshd's privileged monitor).
    pub start: u64,
    pub tgid: u32,
    pub login_uid: u32,
    /// One of `LOGIN_*`.
    pub state: u32,
    pub reserved: u32,
    /// Name of the parent, sshd's listener; ends with NUL.
    pub listener: [u8; 16],
}

/// The login waits for its stamp.
pub const LOGIN_SEEN: u32 = 0;
/// The hook refused the login, so sshd runs no program for it.
pub const LOGIN_REFUSED: u32 = 1;
/// Beginning of the name of each sshd process that opens a PAM session.
pub const SSHD: [u8; 4] = *b"sshd";

const _: () = {
    assert!(size_of::<Header>() == 56, "no hidden padding");
    assert!(
        size_of::<Exec>() == 56 + 24 + 18 * 4 + 8,
        "no hidden padding"
    );
    assert!(size_of::<Exit>() == 56 + 8 + 16, "no hidden padding");
    assert!(size_of::<CgroupMove>() == 56 + 32, "no hidden padding");
    assert!(size_of::<SeenLogin>() == 48, "no hidden padding");
    assert!(size_of::<TaskMark>() == 32 && size_of::<SessionCounters>() == 56);
    assert!(size_of::<Exec>().is_multiple_of(8) && size_of::<Exit>().is_multiple_of(8));
};
