//! How often the kernel skipped a program.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use aya::programs::ProgramFd;
use vctl_common::status::SkipBase;

/// Skips of a program of which there are two copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopySkips {
    pub program: &'static str,
    pub first: u64,
    /// `None` without a second copy.
    pub second: Option<u64>,
    /// Both, when the second copy was attached.
    pub(super) base: SkipBase,
    /// Some events are handled by the first copy only.
    pub(super) is_first_alone: bool,
}

impl CopySkips {
    /// Returns the most events that no copy has handled. If there is one more, it grows.
    pub fn lost(self) -> u64 {
        match self.second {
            // The first copy was alone before, and all that it missed then is lost.
            Some(second) if !self.is_first_alone => {
                let first = self.first.saturating_sub(self.base.first);
                self.base.first + first.min(second.saturating_sub(self.base.second))
            }
            _ => self.first,
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
        let lost = |first, second, base| skips(first, second, base, false).lost();
        assert_eq!(lost(50, None, (0, 0)), 50);
        assert_eq!(lost(50, Some(0), (0, 0)), 0);
        assert_eq!(lost(50, Some(2), (0, 0)), 2);
        assert_eq!(lost(1, Some(3), (0, 0)), 1);
        // Skips from before the second copy stay.
        assert_eq!(lost(50, Some(0), (50, 0)), 50);
        assert_eq!(lost(53, Some(2), (50, 0)), 52);
        // Its link was removed for a while, and its count stayed.
        assert_eq!(lost(53, Some(9), (50, 7)), 52);
    }

    #[test]
    fn an_event_of_the_first_copy_alone_is_lost_with_it() {
        let lost = |first, second, base| skips(first, second, base, true).lost();
        assert_eq!(lost(50, Some(2), (0, 0)), 50);
        assert_eq!(lost(53, Some(2), (50, 0)), 53);
    }

    fn skips(first: u64, second: Option<u64>, base: (u64, u64), alone: bool) -> CopySkips {
        let (base_first, base_second) = base;
        CopySkips {
            program: "",
            first,
            second,
            base: SkipBase {
                first: base_first,
                second: base_second,
            },
            is_first_alone: alone,
        }
    }
}
