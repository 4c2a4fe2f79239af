//! The text of `/proc/<pid>/stat`. Pure.

/// The facts of `/proc/<pid>/stat` that are needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub ppid: u32,
    /// In clock ticks after boot.
    pub start_ticks: u64,
    /// Its last thread has ended, and its parent has not waited for it.
    pub is_zombie: bool,
    /// Its last thread ends now or has ended: the probe at its exit has run, or is about to.
    pub is_exiting: bool,
}

/// `PF_EXITING` of the kernel.
const EXITING: u32 = 4;

/// Reads all of `/proc/<pid>/stat`.
///
/// The comm in field 2 may hold spaces and `)`, so fields are counted from the last `)`.
/// Source: proc_pid_stat(5).
pub fn parse_stat(stat: &[u8]) -> Option<Stat> {
    let after_comm = memchr::memrchr(b')', stat)? + 1;
    let text = std::str::from_utf8(stat.get(after_comm..)?).ok()?;
    let mut fields = text.split_ascii_whitespace();
    // Field 3, the state, is the first here; then ppid 4, flags 9, num_threads 20, starttime 22.
    let state = fields.next()?;
    let ppid = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(4)?.parse().ok()?;
    let threads: u32 = fields.nth(10)?.parse().ok()?;
    let start_ticks = fields.nth(1)?.parse().ok()?;
    // State and flags are of the first thread. It may have ended while others run.
    let is_last = threads <= 1;
    let is_zombie = is_last && matches!(state, "Z" | "X" | "x");
    Some(Stat {
        ppid,
        start_ticks,
        is_zombie,
        is_exiting: is_zombie || is_last && flags & EXITING != 0,
    })
}
