//! Time from an exec until its event would survive a power cut.
//!
//! The measurement does not use the agent's own times. Bpftrace notes the return of each write and sync of the agent,
//! the spool shows the position of each event, and the event has the time of the exec.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use vctl_common::event;
use vctl_common::spool::{self, Look, Segment};
use vctl_tests::lab::Options;
use vctl_tests::load::ledger::boot_now;
use vctl_tests::load::peer::bpftrace::Trace;
use vctl_tests::load::stats::{Summary, u64_as_f64};

use crate::report::Findings;
use crate::rig::{Bench, LoadArguments, settle};

const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
tracepoint:syscalls:sys_enter_pwrite64 /pid == PID/ { @fd[tid] = args->fd; @pos[tid] = args->pos; }
tracepoint:syscalls:sys_exit_pwrite64 /pid == PID/ {
  printf("write %d %d %d %lu\n", @fd[tid], @pos[tid], args->ret, nsecs);
}
tracepoint:syscalls:sys_enter_fdatasync /pid == PID/ { @sync[tid] = args->fd; }
tracepoint:syscalls:sys_exit_fdatasync /pid == PID/ { printf("sync %d 0 %d %lu\n", @sync[tid], args->ret, nsecs); }
"#;

/// One line of the trace.
struct Call {
    is_sync: bool,
    fd: u32,
    position: u64,
    returned: i64,
    at: u64,
}

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let options = Options {
        // One segment only. A new segment has another file descriptor, and its positions start at 0 again.
        agent: vec![("segment_size", "256MiB".to_owned())],
        ..Options::default()
    };
    let rig = bench.rig(&options)?;
    let script = SCRIPT.replace("PID", &rig.agent_pid()?.to_string());
    let trace = Trace::start(&bench.directory("trace-")?, &script)?;
    let certificate = rig.lab.certificate("durable", 100)?;
    let load = LoadArguments::default()
        .with("rate", 1600)
        .with("workers", 2)
        .with("seconds", bench.full_or_short(60, 5));
    let done = rig.load_in_session(&certificate, &load)?.wait()?;
    settle();
    let calls = trace
        .end()?
        .lines()
        .filter_map(Call::parse)
        .collect::<Vec<_>>();
    let samples = latencies(&rig.spool, &calls)?;
    ensure!(
        samples.len() as u64 > 2 * done.outcome.spawned,
        "only {} events of {} execs were seen durable",
        samples.len(),
        done.outcome.spawned
    );
    let summary = Summary::of(samples);
    findings.state("exec or exit to durable, p50", summary.p50, "ms");
    findings.at_most("exec or exit to durable, p99", summary.p99, "ms", 100.0);
    findings.state("exec or exit to durable, longest", summary.max, "ms");
    findings.keep("durable_ms", &summary)?;
    findings.keep("load", &done.outcome)?;
    Ok(findings)
}

/// Milliseconds for each event in the spool.
fn latencies(spool: &Path, calls: &[Call]) -> Result<Vec<f64>> {
    // Bpftrace uses the monotonic clock. Events have the boot clock, which also counts suspended time.
    let suspended = boot_now().0.saturating_sub(monotonic_now()?);
    let files = spool::list(spool)?.segments;
    let [files] = <[_; 1]>::try_from(files)
        .map_err(|found| anyhow::anyhow!("{} segments, where one was asked for", found.len()))?;
    let segment = Segment::load(&files, Look::Index, Vec::new())?
        .map_err(|problem| anyhow::anyhow!("the segment is unreadable: {problem:?}"))?;
    let file = segment.open()?;
    let synced = calls
        .iter()
        .find(|call| call.is_sync)
        .context("nothing was synced")?
        .fd;
    let mut samples = Vec::new();
    for entry in segment.entries().iter().filter(|entry| entry.is_events()) {
        let Some(durable) = durable_at(calls, synced, entry.offset(), entry.end()) else {
            continue;
        };
        let payload = spool::payload(&file, entry)?.context("a damaged block")?;
        let mut rest = payload.as_slice();
        while let Ok(header) = event::header(rest) {
            samples.push(u64_as_f64((durable + suspended).saturating_sub(header.at)) / 1e6);
            rest = rest.get(header.len as usize..).unwrap_or_default();
        }
    }
    Ok(samples)
}

/// Returns the end of the first sync that began after these bytes of the segment were written.
///
/// The agent has one thread, so a sync after the write in the trace also began after it.
fn durable_at(calls: &[Call], fd: u32, begin: u64, end: u64) -> Option<u64> {
    let covers = |call: &Call| {
        let length = u64::try_from(call.returned).unwrap_or(0);
        !call.is_sync && call.fd == fd && call.position <= begin && end <= call.position + length
    };
    let written = calls.iter().position(covers)?;
    let later = calls.get(written..)?;
    let sync = later
        .iter()
        .find(|call| call.is_sync && call.fd == fd && call.returned == 0)?;
    Some(sync.at)
}

impl Call {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        Some(Self {
            is_sync: match fields.next()? {
                "write" => false,
                "sync" => true,
                _ => return None,
            },
            fd: fields.next()?.parse().ok()?,
            position: fields.next()?.parse().ok()?,
            returned: fields.next()?.parse().ok()?,
            at: fields.next()?.parse().ok()?,
        })
    }
}

fn monotonic_now() -> Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(now.tv_sec())? * 1_000_000_000 + u64::try_from(now.tv_nsec())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_durable_after_the_next_sync() {
        let trace = [
            "sync 7 0 0 5",
            "write 7 100 50 10",
            "write 8 100 50 11",
            "sync 8 0 0 12",
            "sync 7 0 0 20",
        ];
        let calls: Vec<_> = trace.into_iter().filter_map(Call::parse).collect();
        assert_eq!(durable_at(&calls, 7, 110, 150), Some(20));
        assert_eq!(durable_at(&calls, 7, 110, 151), None);
    }
}
