//! The wall clock of the machine, for specs that step it.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use vctl_common::time::{BootNs, WallOffset, wall_now};

use super::journal::Journal;
use super::undo::Undo;

/// Steps the wall clock. The journal restores it.
pub(super) fn step(journal: &Journal, seconds: i64) -> Result<()> {
    let now = WallOffset::between(boot()?, wall_now());
    journal.before(Undo::RestoreClock {
        offset_ns: now.as_ns(),
    })?;
    set(WallOffset::from_ns(now.as_ns() + seconds * 1_000_000_000))
}

/// Sets the wall clock to the boot clock plus `offset`.
pub(super) fn set(offset: WallOffset) -> Result<()> {
    let wall = offset.wall_time(boot()?).duration_since(UNIX_EPOCH)?;
    Ok(clock_settime(
        ClockId::CLOCK_REALTIME,
        TimeSpec::from_duration(wall),
    )?)
}

fn boot() -> Result<BootNs> {
    let boot = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?);
    Ok(BootNs(u64::try_from(boot.as_nanos())?))
}
