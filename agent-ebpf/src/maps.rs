//! Every map, its size and why. All but the scratch space and the log are pinned by the agent.

use crate::path::{LEN_MASK, Walk};
use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use vctl_common::wire::{ARGV_MAX, Exec, Mark, PATH_MAX, SeenLogin, SessionCounters, TaskMark};

/// Processes of sessions, by tgid. Not task storage: a thread that execs takes over the tgid but
/// not the leader's `task_struct`, and the agent must be able to walk and set marks.
///
/// Preallocated (88 bytes an entry): no allocation at fork, and memory is bounded and known.
#[map(name = "tasks")]
pub static TASKS: HashMap<u32, TaskMark> = HashMap::with_max_entries(65_536, 0);

/// Open sessions, by mark.
#[map(name = "sessions")]
pub static SESSIONS: HashMap<Mark, SessionCounters> = HashMap::with_max_entries(8_192, 0);

/// Logins that sshd opened and that have no mark, by audit session id. The agent removes a login when it
/// is stamped, and decides on the others. As many as there can be sessions, 52 bytes each.
#[map(name = "logins")]
pub static LOGINS: HashMap<u32, SeenLogin> = HashMap::with_max_entries(8_192, 0);

/// Records to the agent; it sets the size.
#[map(name = "ring")]
pub static RING: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Records attempted on each CPU.
#[map(name = "cpu_seq")]
pub static CPU_SEQ: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// What cannot be counted for one session; indexed by [`Counter`].
#[map(name = "counters")]
pub static COUNTERS: Array<u64> = Array::with_max_entries(Counter::COUNT, 0);

/// What the agent keeps of this set of maps for its successor; the probe does not look at it.
#[map(name = "state")]
pub static STATE: Array<u64> = Array::with_max_entries(5, 0);

/// Where an exec record is put together: it is too large for the stack, and its size is known only
/// at the end. One per CPU (the agent sets the number), as per-CPU arrays end at 32 KiB.
#[map(name = "exec_scratch")]
pub static EXEC_SCRATCH: Array<ExecScratch> = Array::with_max_entries(1, 0);

/// The same for failed execs, which keep less of argv.
#[map(name = "failed_scratch")]
pub static FAILED_SCRATCH: PerCpuArray<FailedScratch> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
pub struct ExecScratch {
    pub exec: Exec,
    pub tail: [u8; TAIL_PATHS + ARGV_MAX],
    pub walk: Walk,
}

/// Most bytes the two paths and the file name can take before argv begins.
pub const TAIL_PATHS: usize = 2 * (LEN_MASK + 1) + PATH_MAX;

#[repr(C)]
pub struct FailedScratch {
    pub exec: Exec,
    pub tail: [u8; FAILED_TAIL],
    pub walk: Walk,
}

/// Name and argv of a failed exec: the tail is cut, which the record says.
pub const FAILED_TAIL: usize = 28 * 1024;

/// Index into [`COUNTERS`]; the agent knows the same numbers.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Counter {
    /// Records for which the ring had no room, over all sessions.
    RingFull = 0,
    /// Forks whose child got no mark, over all sessions.
    MarksFull = 1,
    /// A mark whose process is gone: the pid was reused.
    StaleMark = 2,
    /// A marked process whose session the agent does not know any more.
    UnknownSession = 3,
    /// A login without a mark for which the map `logins` had no room.
    LoginsFull = 4,
}

impl Counter {
    const COUNT: u32 = 5;
}
