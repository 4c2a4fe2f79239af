//! The boot clock.

use nix::time::{ClockId, clock_gettime};
use vctl_common::time::BootNs;

/// Returns the kernel's boot clock.
pub fn boot_now() -> BootNs {
    // Fails only for an unknown clock, and boot time is older than any kernel that loads the probe. Then 0
    // reads as "at boot", and nothing else fails.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec()).unwrap_or(0);
    BootNs(
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(nanoseconds),
    )
}
