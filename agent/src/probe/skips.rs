//! How often the kernel skipped a program.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use aya::programs::{BtfTracePoint, FExit, ProgramFd};

use super::failed_links::each_loaded;
use super::load::Probe;
use super::second_copies::DOUBLED;

/// Skips of a program of which there are two copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopySkips {
    pub program: &'static str,
    pub first: u64,
    /// `None` without a second copy.
    pub second: Option<u64>,
    /// Skips of the first copy before the second one was attached.
    pub(super) before: u64,
}

impl CopySkips {
    /// Returns the most events that both copies can have missed. If both miss one, it grows.
    pub fn lost(self) -> u64 {
        let since = self.first.saturating_sub(self.before);
        match self.second {
            Some(second) => self.before + since.min(second),
            None => self.first,
        }
    }
}

impl Probe {
    /// Returns how often the kernel skipped a probe because it, or another one, was already running on that CPU. Of two
    /// copies, the one that was skipped less often counts.
    pub fn skipped(&self) -> u64 {
        let always: u64 = self.watch.skips().map(CopySkips::lost).sum();
        let mut count = always + self.skipped_exits();
        // Also while they are detached: their count stays.
        each_loaded(&self.options.pin_dir, |program| {
            count += skipped(program).unwrap_or(0);
        });
        count
    }

    /// Returns how often the kernel skipped a probe at the exit of exec.
    pub(super) fn skipped_exits(&self) -> u64 {
        let programs = self.exits.iter().map(FExit::fd);
        programs
            .filter_map(|program| skipped(program.ok()?).ok())
            .sum()
    }
}

/// Reads the skips of the programs of which there can be two copies, pinned in `dir`. Leaves out what cannot be read.
pub fn copy_skips(dir: &Path) -> Vec<CopySkips> {
    let count = |name: &str| {
        let program = BtfTracePoint::from_pin(dir.join(format!("prog_{name}"))).ok()?;
        skipped(program.fd().ok()?).ok()
    };
    let both = DOUBLED.iter().filter_map(|doubled| {
        Some(CopySkips {
            program: doubled.program,
            first: count(doubled.program)?,
            second: count(doubled.second),
            before: 0,
        })
    });
    both.collect()
}

/// Reads how often the kernel skipped a program, from /proc, because aya does not return it.
pub(super) fn skipped(program: &ProgramFd) -> io::Result<u64> {
    let fd = program.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"));
    // Kernels before 5.12 have no such counter.
    Ok(line
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_lost_only_if_both_copies_were_skipped() {
        let lost = |first, second, before| {
            CopySkips {
                program: "",
                first,
                second,
                before,
            }
            .lost()
        };
        assert_eq!(lost(50, None, 0), 50);
        assert_eq!(lost(50, Some(0), 0), 0);
        assert_eq!(lost(50, Some(2), 0), 2);
        assert_eq!(lost(1, Some(3), 0), 1);
        // Skips from before the second copy stay.
        assert_eq!(lost(50, Some(0), 50), 50);
        assert_eq!(lost(53, Some(2), 50), 52);
    }
}
