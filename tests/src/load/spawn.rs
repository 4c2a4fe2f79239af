//! Spawns children at a rate and writes a line for each.

use std::ffi::{CString, NulError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use super::ledger::{Row, boot_now};
use super::pace::Pace;
use super::stats::{Summary, u64_as_f64};

/// Program to spawn, with rate, number and arguments.
#[derive(Clone, Debug)]
pub struct Load {
    pub child: PathBuf,
    /// Start of every nonce. The digit for the child's exit code precedes it.
    pub run: String,
    pub stop: Stop,
    /// Spawns per second over all workers. `None` means as fast as possible.
    pub rate: Option<f64>,
    pub workers: u32,
    /// Bytes of argv, with the NUL of each item. Filler follows the nonce.
    pub argv_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Stop {
    AfterCount(u64),
    AfterTime(Duration),
}

/// Results of a load. Times are from the call of `posix_spawn` to the return of `waitpid`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub spawned: u64,
    pub seconds: f64,
    pub per_second: f64,
    pub spawn_wait_ns: Summary,
}

#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot spawn `{child}`")]
    Spawn {
        child: PathBuf,
        #[source]
        source: Errno,
    },
    #[error("cannot wait for pid {pid}")]
    Wait {
        pid: u32,
        #[source]
        source: Errno,
    },
    #[error("pid {pid} neither exited nor was killed: {status:?}")]
    NotEnded { pid: u32, status: WaitStatus },
    #[error("argument holds a NUL")]
    Argument(#[from] NulError),
    #[error("cannot write the ledger")]
    Ledger(#[from] io::Error),
}

/// Runs the load to its end. Every child gets one line in `ledger`.
///
/// # Errors
/// The first failure ends the load, because an incomplete ledger proves nothing.
pub fn run(load: &Load, ledger: impl Write + Send) -> Result<Outcome, SpawnError> {
    let ledger = Mutex::new(BufWriter::with_capacity(1 << 20, ledger));
    let ticket = AtomicU64::new(0);
    let start = Instant::now();
    let samples = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..load.workers.max(1))
            .map(|_| scope.spawn(|| work(load, start, &ticket, &ledger)))
            .collect();
        let mut samples = Vec::new();
        for worker in workers {
            // A panic of a worker is a bug of the load itself, so this panics too.
            let result = worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            samples.extend(result?);
        }
        Ok::<_, SpawnError>(samples)
    })?;
    ledger
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .flush()?;
    let seconds = start.elapsed().as_secs_f64();
    let spawned = samples.len() as u64;
    Ok(Outcome {
        spawned,
        seconds,
        per_second: u64_as_f64(spawned) / seconds,
        spawn_wait_ns: Summary::of(samples),
    })
}

fn work(
    load: &Load,
    start: Instant,
    ticket: &AtomicU64,
    ledger: &Mutex<BufWriter<impl Write>>,
) -> Result<Vec<f64>, SpawnError> {
    let rate = load.rate.map(|rate| rate / f64::from(load.workers.max(1)));
    let mut pace = Pace::new(start, rate);
    let mut samples = Vec::new();
    loop {
        pace.wait();
        let number = ticket.fetch_add(1, Ordering::Relaxed);
        let over = match load.stop {
            Stop::AfterCount(count) => number >= count,
            Stop::AfterTime(time) => start.elapsed() >= time,
        };
        if over {
            return Ok(samples);
        }
        let nonce = format!("{}-{}-{number}", number % 10, load.run);
        let row = spawn_one(&load.child, nonce, load.argv_bytes)?;
        samples.push(u64_as_f64(row.after.0 - row.before.0));
        row.write_to(&mut *ledger.lock().unwrap_or_else(PoisonError::into_inner))?;
    }
}

fn spawn_one(child: &Path, nonce: String, argv_bytes: usize) -> Result<Row, SpawnError> {
    let argv = argv(&nonce, argv_bytes)?;
    let path = CString::new(child.as_os_str().as_encoded_bytes())?;
    let fail = |source| SpawnError::Spawn {
        child: child.to_owned(),
        source,
    };
    let actions = PosixSpawnFileActions::init().map_err(fail)?;
    let attributes = PosixSpawnAttr::init().map_err(fail)?;
    let environment: [CString; 0] = [];
    let before = boot_now();
    let pid =
        posix_spawn(path.as_c_str(), &actions, &attributes, &argv, &environment).map_err(fail)?;
    let status = waitpid(pid, None);
    let after = boot_now();
    let pid = pid.as_raw().unsigned_abs();
    let status = status.map_err(|source| SpawnError::Wait { pid, source })?;
    Ok(Row {
        nonce,
        pid,
        before,
        after,
        wait_status: wait_status(status).ok_or(SpawnError::NotEnded { pid, status })?,
    })
}

/// One item may have at most 128 KiB (`MAX_ARG_STRLEN`), so a long argv has several items.
const FILL_ITEM: usize = 32 * 1024;

fn argv(nonce: &str, bytes: usize) -> Result<Vec<CString>, NulError> {
    let mut argv = vec![CString::new("child")?, CString::new(nonce)?];
    let used: usize = argv.iter().map(|item| item.as_bytes_with_nul().len()).sum();
    let mut left = bytes.saturating_sub(used);
    while left > 0 {
        let item = left.min(FILL_ITEM);
        argv.push(CString::new(vec![b'x'; item - 1])?);
        left -= item;
    }
    Ok(argv)
}

/// Converts the status back into the form of wait(2).
fn wait_status(status: WaitStatus) -> Option<u32> {
    let status = match status {
        WaitStatus::Exited(_, code) => (code & 0xff) << 8,
        WaitStatus::Signaled(_, signal, core) => {
            signal as libc::c_int | if core { 0x80 } else { 0 }
        }
        _ => return None,
    };
    u32::try_from(status).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{child, ledger};

    #[test]
    fn argv_has_the_bytes_that_were_asked_for() {
        for bytes in [64, 4096, 128 * 1024] {
            let argv = argv("3-run-17", bytes).unwrap();
            let sum: usize = argv.iter().map(|item| item.as_bytes_with_nul().len()).sum();
            assert_eq!(sum, bytes);
        }
    }

    #[test]
    fn every_child_is_in_the_ledger_once_with_its_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let load = Load {
            child: dir.path().join("child"),
            run: "r".to_owned(),
            stop: Stop::AfterCount(50),
            rate: None,
            workers: 2,
            argv_bytes: 64,
        };
        child::write_to(&load.child).unwrap();
        let path = dir.path().join("ledger");
        let outcome = run(&load, std::fs::File::create(&path).unwrap()).unwrap();
        assert_eq!(outcome.spawned, 50);
        let mut rows = ledger::read(&path).unwrap();
        rows.sort_by_key(|row| {
            row.nonce
                .split('-')
                .next_back()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        });
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.nonce, format!("{}-r-{number}", number % 10));
            assert_eq!(row.wait_status >> 8, u32::try_from(number % 10).unwrap());
        }
        assert_eq!(rows.len(), 50);
    }
}
