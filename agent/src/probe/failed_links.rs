//! The programs and links for failed execs at the end of system calls, as they are pinned.

use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{BtfTracePoint, ProgramFd, TracePoint};

/// One program for two system calls, each with its own link.
pub(super) const FAILED_PROGRAM: &str = "exec_failed";
pub(super) const FAILED_CALLS: [&str; 2] = ["sys_exit_execve", "sys_exit_execveat"];

/// The program for execs of the 32-bit and x32 tables, at the end of all system calls.
pub(super) const COMPAT_PROGRAM: &str = "compat_failed";

/// Returns whether the tracepoint of execve's result can be reached below `root`.
pub fn has_tracepoint(root: &Path) -> bool {
    let places = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];
    let id = format!("events/syscalls/{}/id", FAILED_CALLS[0]);
    places.iter().any(|at| root.join(at).join(&id).exists())
}

/// Returns the names of all links that are attached while a session is open.
pub(super) fn links() -> impl Iterator<Item = &'static str> {
    FAILED_CALLS.into_iter().chain([COMPAT_PROGRAM])
}

/// Returns whether an agent has loaded the program for the end of system calls.
pub(super) fn is_loaded(dir: &Path) -> bool {
    dir.join(format!("prog_{FAILED_PROGRAM}")).exists()
}

/// Opens the links of failed execs, so that they stay attached without their pins.
pub(super) fn failed_links(dir: &Path) -> Vec<(&'static str, FdLink)> {
    let open = |call: &str| PinnedLink::from_pin(dir.join(format!("link_{call}")));
    links()
        .filter_map(|call| Some((call, open(call).ok()?.into())))
        .collect()
}

/// Calls `found` with each program for the end of system calls that an agent has loaded.
pub(super) fn each_loaded(dir: &Path, mut found: impl FnMut(&ProgramFd)) {
    let pin = |name: &str| dir.join(format!("prog_{name}"));
    if let Ok(program) = TracePoint::from_pin(pin(FAILED_PROGRAM))
        && let Ok(fd) = program.fd()
    {
        found(fd);
    }
    if let Ok(program) = BtfTracePoint::from_pin(pin(COMPAT_PROGRAM))
        && let Ok(fd) = program.fd()
    {
        found(fd);
    }
}
