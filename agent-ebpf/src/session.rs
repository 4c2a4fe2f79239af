//! Lookup of a task's session. Every probe begins with it, and for most tasks nothing more happens.

use core::intrinsics::{AtomicOrdering::SeqCst, atomic_xadd};

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ringbuf_output};
use aya_log_ebpf::warn;
use vctl_common::layout::Field;
use vctl_common::wire::{self, Exec, Header, Mark, SessionCounters, TaskMark};

use crate::kernel::{Kernel, load};
use crate::late;
use crate::maps::{COUNTERS, CPU_SEQ, Counter, NO_WAKEUP, RING, SESSIONS, TASKS};

/// Not 0 to record the whole host; set by the agent before the object is loaded.
#[unsafe(no_mangle)]
static CAPTURE_ALL: u32 = 0;

#[inline(always)]
pub fn capture_all() -> bool {
    // SAFETY: a static; volatile because the value is set after compilation.
    unsafe { core::ptr::read_volatile(&raw const CAPTURE_ALL) != 0 }
}

/// The session and role of a process.
#[derive(Clone, Copy)]
pub struct Owner {
    pub session: Mark,
    pub marked: u16,
    /// One of `wire::ROLE_*`. The groups belong to that role.
    pub role: u32,
    pub groups: u64,
    pub tgid: u32,
    pub start: u64,
}

/// Returns the tgid of the running task.
#[inline(always)]
pub fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Returns the owner of `task`, whose thread group is `tgid`, or `None` when it is not recorded.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn owner(task: *const Kernel, tgid: u32) -> Option<Owner> {
    let Some(mark) = TASKS.get_ptr_mut(tgid) else {
        // SAFETY: the caller guarantees it.
        return unsafe { unmarked(task, tgid) };
    };
    // SAFETY: the caller guarantees it.
    unsafe { marked(mark, task, tgid) }
}

/// Like [`owner`], but first marks a process of a login that was stamped late.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn owner_or_late(task: *const Kernel, tgid: u32) -> Option<Owner> {
    let mut mark = TASKS.get_ptr_mut(tgid);
    // SAFETY: the caller guarantees it.
    if mark.is_none() && unsafe { late::mark(task, tgid) } {
        mark = TASKS.get_ptr_mut(tgid);
    }
    let Some(mark) = mark else {
        // SAFETY: the caller guarantees it.
        return unsafe { unmarked(task, tgid) };
    };
    // SAFETY: the caller guarantees it.
    unsafe { marked(mark, task, tgid) }
}

/// # Safety
/// As [`owner`].
#[inline(always)]
unsafe fn unmarked(task: *const Kernel, tgid: u32) -> Option<Owner> {
    if !capture_all() {
        return None;
    }
    // SAFETY: the caller guarantees it.
    let start = unsafe { process_start(task) };
    Some(Owner {
        session: 0,
        marked: wire::MARKED_NOT,
        role: wire::ROLE_USER,
        groups: 0,
        tgid,
        start,
    })
}

/// # Safety
/// As [`owner`]; `mark` is a live map value.
#[inline(always)]
unsafe fn marked(mark: *mut TaskMark, task: *const Kernel, tgid: u32) -> Option<Owner> {
    // SAFETY: the caller guarantees it.
    let start = unsafe { process_start(task) };
    // SAFETY: a live map value; the fields are plain integers.
    let known = unsafe { (*mark).start };
    if known == 0 {
        // The agent set this mark, and knows the start time only to a clock tick.
        // SAFETY: as above.
        unsafe { (*mark).start = start };
    } else if known != start {
        let _ = TASKS.remove(tgid);
        count(Counter::StaleMark);
        return None;
    }
    // SAFETY: as above.
    let (session, marked) = unsafe { ((*mark).session, (*mark).marked) };
    // SAFETY: as above.
    let (role, groups) = unsafe { ((*mark).role, (*mark).groups) };
    Some(Owner {
        session,
        marked,
        role,
        groups,
        tgid,
        start,
    })
}

/// Returns the start time of the thread group leader of `task`.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn process_start(task: *const Kernel) -> u64 {
    // SAFETY: the caller guarantees it.
    unsafe {
        load(
            load::<*const Kernel>(task, Field::TaskGroupLeader),
            Field::TaskStart,
        )
    }
}

/// Returns whether the process that started then has a mark.
#[inline(always)]
pub fn is_marked(tgid: u32, start: u64) -> bool {
    match TASKS.get_ptr(tgid) {
        // SAFETY: a live map value.
        Some(mark) => unsafe { (*mark).start == start },
        None => false,
    }
}

/// Marks a new process in its parent's session; `role` and `groups` come from the parent.
#[inline(always)]
pub fn inherit(parent: &Owner, role: u32, groups: u64, tgid: u32, start: u64) {
    let Some(session) = SESSIONS.get_ptr_mut(parent.session) else {
        count(Counter::UnknownSession);
        return;
    };
    let mark = TaskMark {
        session: parent.session,
        start,
        marked: parent.marked,
        noted_exec: 0,
        role,
        groups,
    };
    if TASKS.insert(tgid, mark, 0).is_ok() {
        // SAFETY: a live map value.
        unsafe { add(&raw mut (*session).alive, 1) };
    } else {
        count(Counter::MarksFull);
        // SAFETY: as above.
        unsafe { add(&raw mut (*session).unmarked_forks, 1) };
    }
}

/// A position in the order of events, taken before the ring's room is checked.
pub struct Place {
    session_seq: u64,
    cpu_seq: u64,
    session: *mut SessionCounters,
}

/// Takes the next numbers for an event of `owner`; `None` when its session is no longer known.
#[inline(always)]
pub fn place(owner: &Owner) -> Option<Place> {
    let Some(session) = SESSIONS.get_ptr_mut(owner.session) else {
        count(Counter::UnknownSession);
        return None;
    };
    // SAFETY: a live map value.
    let session_seq = unsafe { add(&raw mut (*session).seq, 1) } + 1;
    let cpu = CPU_SEQ.get_ptr_mut(0)?;
    // Atomic, because the kernel may preempt a program by another one on this CPU.
    // SAFETY: a live map value.
    let cpu_seq = unsafe { add(cpu, 1) } + 1;
    Some(Place {
        session_seq,
        cpu_seq,
        session,
    })
}

impl Place {
    /// Begins a record of `owner`'s event. With a `len` of 0, the caller sets the length later.
    #[inline(always)]
    pub fn header(&self, owner: &Owner, kind: u16, len: usize, at: u64, cpu: u32) -> Header {
        Header {
            len: len as u32,
            kind,
            marked: owner.marked,
            session: owner.session,
            session_seq: self.session_seq,
            cpu_seq: self.cpu_seq,
            at,
            tgid: owner.tgid,
            cpu,
            start: owner.start,
        }
    }

    /// Copies a record and the first `tail` bytes behind it to the ring, or counts it as lost.
    ///
    /// # Safety
    /// `tail` is at most the space behind `exec` in its map value.
    #[inline(always)]
    pub unsafe fn submit(&self, exec: *mut Exec, tail: usize, at: u64) {
        let len = size_of::<Exec>() + tail;
        // SAFETY: the caller guarantees it.
        let written = unsafe {
            (*exec).header.len = len as u32;
            bpf_ringbuf_output(
                (&raw const RING).cast_mut().cast(),
                exec.cast(),
                len as u64,
                NO_WAKEUP,
            )
        };
        if written != 0 {
            self.lost(at);
        }
    }

    /// Counts an event for which the ring had no room.
    #[inline(always)]
    pub fn lost(&self, at: u64) {
        count(Counter::RingFull);
        // SAFETY: a live map value.
        unsafe {
            if add(&raw mut (*self.session).lost, 1) == 0 {
                (*self.session).lost_first = at;
            }
            (*self.session).lost_last = at;
        }
    }

    /// Subtracts one process from the session and returns how many are left.
    #[inline(always)]
    pub fn one_less(&self) -> u32 {
        // SAFETY: a live map value.
        let before = unsafe { add(&raw mut (*self.session).alive, u64::MAX) };
        (before as u32).saturating_sub(1)
    }
}

/// Adds one to a counter of the whole host, and writes to the agent's log when it is read
/// (`probe_log`). Not inlined, as it rarely runs.
#[inline(never)]
pub fn count(counter: Counter) {
    warn!(
        &(),
        "counter {} goes up for process {}",
        counter as u32,
        current_tgid()
    );
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a live map value.
        unsafe { add(value, 1) };
    }
}

/// Adds to a number that other CPUs change too, and returns its former value. For this target the
/// standard library has no such function, but the instruction set has the instruction. Sequentially
/// consistent because LLVM compiles a relaxed add to an instruction that returns nothing.
///
/// # Safety
/// `value` points into a live map value.
#[inline(always)]
unsafe fn add(value: *mut u64, amount: u64) -> u64 {
    // SAFETY: aligned, as all our map values are.
    unsafe { atomic_xadd::<u64, u64, { SeqCst }>(value, amount) }
}
