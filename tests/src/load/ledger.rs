//! Record of the load itself: one line per process.
//!
//! A line is `nonce pid before_ns after_ns wait_status`, with times on the boot clock. The agent does not write
//! any of it, so a difference between ledger and spool is an error of the agent.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::Path;

use nix::time::{ClockId, clock_gettime};
use vctl_common::time::BootNs;

/// One process in the view of its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// First argument of the process, unique within the run.
    pub nonce: String,
    pub pid: u32,
    /// Time before the spawn call and time after the wait.
    pub before: BootNs,
    pub after: BootNs,
    /// Status as wait(2) returned it.
    pub wait_status: u32,
}

impl Row {
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let Self {
            nonce,
            pid,
            before,
            after,
            wait_status,
        } = self;
        writeln!(
            out,
            "{nonce} {pid} {before} {after} {wait_status}",
            before = before.0,
            after = after.0
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let row = Self {
            nonce: fields.next()?.to_owned(),
            pid: fields.next()?.parse().ok()?,
            before: BootNs(fields.next()?.parse().ok()?),
            after: BootNs(fields.next()?.parse().ok()?),
            wait_status: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some(row)
    }
}

/// Reads a whole ledger.
///
/// # Errors
/// When a line does not have the format, because an incomplete ledger proves nothing.
pub fn read(path: &Path) -> io::Result<Vec<Row>> {
    BufReader::new(File::open(path)?)
        .lines()
        .map(|line| {
            let line = line?;
            Row::parse(&line)
                .ok_or_else(|| io::Error::other(format!("`{line}` is not a row of a ledger")))
        })
        .collect()
}

/// Returns the boot clock, which the kernel also uses for events.
pub fn boot_now() -> BootNs {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    });
    BootNs(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_reads_back_and_a_torn_line_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let row = Row {
            nonce: "7-1-42".to_owned(),
            pid: 4242,
            before: BootNs(10),
            after: BootNs(30),
            wait_status: 7 << 8,
        };
        let mut bytes = Vec::new();
        row.write_to(&mut bytes).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), [row]);
        bytes.extend(b"7-1-43 42");
        std::fs::write(&path, &bytes).unwrap();
        read(&path).unwrap_err();
    }
}
