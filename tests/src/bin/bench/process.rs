//! Duration and memory of whole processes.

use std::fs;
use std::io;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use vctl_tests::load::stats::Summary;

/// Measures processes from their start to their end, in milliseconds.
pub(crate) fn times(rounds: u32, command: impl Fn(u32) -> Result<Command>) -> Result<Summary> {
    let mut samples = Vec::new();
    for round in 0..rounds {
        let mut command = command(round)?;
        silent(&mut command);
        let begun = Instant::now();
        let status = command.status().context("cannot run vctl")?;
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(status.success(), "{command:?} ended with {status}");
    }
    Ok(Summary::of(samples))
}

/// Returns the highest resident memory of a process in KiB, as the kernel counts it at the end.
pub(crate) fn peak_memory(mut command: Command) -> Result<f64> {
    silent(&mut command);
    let child = command.spawn().context("cannot run vctl")?;
    peak_of(child, &command)
}

/// Like [`peak_memory`]; `write` writes the standard input of the process.
pub(crate) fn peak_memory_reading(
    mut command: Command,
    write: impl FnOnce(ChildStdin) -> io::Result<()> + Send,
) -> Result<f64> {
    silent(&mut command);
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run vctl")?;
    let input = child.stdin.take().context("no standard input")?;
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(input));
        let peak = peak_of(child, &command)?;
        let written = writer.join();
        written.map_err(|_| anyhow!("the writer panicked"))??;
        Ok(peak)
    })
}

fn peak_of(mut child: Child, command: &Command) -> Result<f64> {
    let peak = at_its_end(&child);
    if peak.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    let peak = peak?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(peak)
}

/// Stops the process in its exit, where it still has its memory.
fn at_its_end(child: &Child) -> Result<f64> {
    let pid = Pid::from_raw(child.id().cast_signed());
    ptrace::seize(pid, Options::PTRACE_O_TRACEEXIT)?;
    loop {
        match waitpid(pid, None)? {
            WaitStatus::PtraceEvent(..) => break,
            WaitStatus::Stopped(_, signal) => {
                let signal = (signal != Signal::SIGTRAP).then_some(signal);
                ptrace::cont(pid, signal)?;
            }
            other => anyhow::bail!("ended before it was looked at: {other:?}"),
        }
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    ptrace::detach(pid, None)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("no VmHWM")?.trim().parse()?)
}

fn silent(command: &mut Command) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
}
