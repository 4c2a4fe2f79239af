//! Cost of a process, read from /proc by another process.

use std::fs;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counters of one process since its start. The difference of two is a cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessCost {
    /// CPU time in user space and in the kernel, sampled by the timer tick.
    pub user_ns: u64,
    pub system_ns: u64,
    /// Time on a CPU from the scheduler, user and kernel together. It is exact and not sampled.
    pub on_cpu_ns: u64,
    /// Number of times that a thread gave up the CPU by itself. Each was a wake-up.
    pub voluntary_switches: u64,
}

/// Resident memory of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub rss_bytes: u64,
    /// Part that is a mapped BPF ring. Its size is configured and reported separately.
    pub ring_bytes: u64,
}

impl Memory {
    pub fn without_ring(self) -> u64 {
        self.rss_bytes.saturating_sub(self.ring_bytes)
    }
}

impl ProcessCost {
    /// Reads all threads of the process.
    ///
    /// # Errors
    /// When the process has ended, or /proc does not have the form in proc(5).
    pub fn read(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (user_ticks, system_ticks) = ticks(&stat).ok_or_else(|| malformed("stat"))?;
        let mut cost = Self {
            user_ns: user_ticks * TICK_NS,
            system_ns: system_ticks * TICK_NS,
            ..Self::default()
        };
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            let read = || {
                io::Result::Ok((
                    fs::read_to_string(task.join("schedstat"))?,
                    fs::read_to_string(task.join("status"))?,
                ))
            };
            let (schedstat, status) = match read() {
                // The thread ended after the directory was read.
                Err(error) if has_ended(&error) => continue,
                files => files?,
            };
            cost.on_cpu_ns += first_number(&schedstat).ok_or_else(|| malformed("schedstat"))?;
            cost.voluntary_switches +=
                field(&status, "voluntary_ctxt_switches:").ok_or_else(|| malformed("status"))?;
        }
        Ok(cost)
    }

    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(earlier.user_ns),
            system_ns: self.system_ns.saturating_sub(earlier.system_ns),
            on_cpu_ns: self.on_cpu_ns.saturating_sub(earlier.on_cpu_ns),
            voluntary_switches: self
                .voluntary_switches
                .saturating_sub(earlier.voluntary_switches),
        }
    }

    /// Time on a CPU as a share of `elapsed`, in percent of one CPU.
    pub fn cpu_percent(self, elapsed: Duration) -> f64 {
        100.0 * Duration::from_nanos(self.on_cpu_ns).as_secs_f64() / elapsed.as_secs_f64()
    }
}

/// Returns whether a file of a thread could not be read because the thread has ended.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

impl Memory {
    /// Reads the resident memory, and the part of it that is a BPF map.
    pub fn read(pid: u32) -> io::Result<Self> {
        Ok(memory(&fs::read_to_string(format!("/proc/{pid}/smaps"))?))
    }
}

/// USER_HZ is 100 on every Linux platform that vctl supports.
const TICK_NS: u64 = 10_000_000;

fn ticks(stat: &str) -> Option<(u64, u64)> {
    // The comm may contain spaces and `)`, so fields are counted from the last `)`.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn memory(smaps: &str) -> Memory {
    let mut memory = Memory::default();
    let mut in_ring = false;
    for line in smaps.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if !first.ends_with(':') {
            in_ring = line.contains("bpf-map") || line.contains("bpf_ringbuf");
        } else if first == "Rss:" {
            let bytes = field(line, "Rss:").unwrap_or(0) * 1024;
            memory.rss_bytes += bytes;
            if in_ring {
                memory.ring_bytes += bytes;
            }
        }
    }
    memory
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| first_number(line.strip_prefix(name)?))
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn malformed(file: &str) -> io::Error {
    io::Error::other(format!(
        "/proc/<pid>/{file} does not have the form in proc(5)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_hostile_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 55 66 0 0 20 0 1";
        assert_eq!(ticks(stat), Some((55, 66)));
        assert_eq!(ticks("7 (short) S 1"), None);
    }

    #[test]
    fn the_ring_is_counted_apart_from_other_memory() {
        let smaps = "55e0-55f0 r-xp 0000 fe:00 12 /usr/sbin/vctl-agent\nRss:                 100 kB\n\
                     7f00-7f10 rw-s 0000 00:0e 9 anon_inode:bpf-map\nRss:                  40 kB\n\
                     7f20-7f30 rw-p 0000 00:00 0\nRss:                   2 kB\n";
        let memory = memory(smaps);
        assert_eq!(
            (memory.rss_bytes, memory.ring_bytes),
            (142 * 1024, 40 * 1024)
        );
        assert_eq!(memory.without_ring(), 102 * 1024);
    }

    #[test]
    fn this_process_has_a_cost() {
        let cost = ProcessCost::read(std::process::id()).unwrap();
        assert!(cost.on_cpu_ns > 0);
        assert!(Memory::read(std::process::id()).unwrap().rss_bytes > 0);
    }
}
