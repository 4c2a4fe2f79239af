//! How often the kernel skipped a program.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::programs::ProgramFd;

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
