//! All maps, with the size of each and the reason for it. The agent pins all but the scratch space
//! and the log.

use crate::path::{LEN_MASK, Walk};
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use vctl_common::wire::{ARGV_MAX, Exec, Mark, PATH_MAX, SeenLogin, SessionCounters, TaskMark};

/// Processes of sessions, by tgid. Not task storage: a thread that execs takes over the tgid but
/// not the leader's `task_struct`, and the agent must be able to list and set marks.
///
/// Preallocated (88 bytes an entry): fork allocates nothing, and the memory has a fixed limit.
#[map(name = "tasks")]
pub static TASKS: HashMap<u32, TaskMark> = HashMap::with_max_entries(65_536, 0);

/// Open sessions, by mark.
#[map(name = "sessions")]
pub static SESSIONS: HashMap<Mark, SessionCounters> = HashMap::with_max_entries(8_192, 0);

/// Logins that sshd opened without a mark, by audit session id. The agent removes a login when it
/// is stamped, and decides about the others. The limit is that of sessions; an entry takes 104 bytes of the kernel.
#[map(name = "logins")]
pub static LOGINS: HashMap<u32, SeenLogin> = HashMap::with_max_entries(8_192, 0);

/// Marks of logins that were stamped late, by audit session id: the limit is that of sessions. See [`crate::late`].
#[map(name = "late_marks")]
pub static LATE_MARKS: HashMap<u32, Mark> = HashMap::with_max_entries(8_192, 0);

/// Records for the agent, which sets the size.
#[map(name = "ring")]
pub static RING: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Leaves the wake-up to the agent's timer: a wake-up costs twenty times as much as a record.
pub const NO_WAKEUP: u64 = 1;

/// Records attempted on each CPU.
#[map(name = "cpu_seq")]
pub static CPU_SEQ: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Counts that belong to no single session; indexed by [`Counter`].
#[map(name = "counters")]
pub static COUNTERS: Array<u64> = Array::with_max_entries(Counter::COUNT, 0);

/// State that the agent stores for the next agent that uses these maps; the probe does not read it.
#[map(name = "state")]
pub static STATE: Array<u64> = Array::with_max_entries(5, 0);

/// Space for one exec record while it is built: it is too large for the stack, and its size is
/// known only at the end. One per CPU (the agent sets the number); per-CPU arrays are limited to 32
/// KiB.
#[map(name = "exec_scratch")]
pub static EXEC_SCRATCH: Array<ExecScratch> = Array::with_max_entries(1, 0);

/// The same for failed execs, which record less of argv. One for each call of `attempt::Call`; the agent sets the number.
#[map(name = "failed_scratch")]
pub static FAILED_SCRATCH: PerCpuArray<FailedScratch> = PerCpuArray::with_max_entries(6, 0);

#[repr(C)]
pub struct ExecScratch {
    pub exec: Exec,
    pub tail: [u8; TAIL_PATHS + ARGV_MAX],
    pub walk: Walk,
}

/// Largest size of the two paths and the file name, which lie before argv.
pub const TAIL_PATHS: usize = 2 * (LEN_MASK + 1) + PATH_MAX;

#[repr(C)]
pub struct FailedScratch {
    pub exec: Exec,
    pub tail: [u8; FAILED_TAIL],
    pub walk: Walk,
    /// Size of an address in argv.
    pub width: u32,
}

/// Name and argv of a failed exec. A longer tail is cut, and the record says so.
pub const FAILED_TAIL: usize = 28 * 1024;

/// Index into [`COUNTERS`]; the agent knows the same numbers.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Counter {
    /// Records that found no room in the ring, over all sessions.
    RingFull = 0,
    /// Forks that gave the child no mark, over all sessions.
    MarksFull = 1,
    /// Marks of a process that had exited: the pid was used again.
    StaleMark = 2,
    /// Marked processes of a session that the agent no longer knows.
    UnknownSession = 3,
    /// Logins without a mark for which the map `logins` had no room.
    LoginsFull = 4,
}

impl Counter {
    const COUNT: u32 = 5;
}
