//! The programs and links for failed execs, as they are pinned.

use std::fs;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};

use super::ProbeError;
use super::ProbeOptions;
use super::object::{Unfinished, has_compat_table, object};

/// One program for two system calls, each with its own link.
pub(super) const FAILED_PROGRAM: &str = "exec_failed";
pub(super) const FAILED_CALLS: [&str; 2] = ["sys_exit_execve", "sys_exit_execveat"];

/// The program for execs of the 32-bit and x32 tables, at the end of all system calls.
pub(super) const COMPAT_PROGRAM: &str = "compat_failed";

/// Returns the names of all links that are attached while a session is open.
pub(super) fn links() -> impl Iterator<Item = &'static str> {
    FAILED_CALLS.into_iter().chain([COMPAT_PROGRAM])
}

/// Opens the links of failed execs, so that they stay attached without their pins.
pub(super) fn failed_links(dir: &Path) -> Vec<(&'static str, FdLink)> {
    let open = |call: &str| PinnedLink::from_pin(dir.join(format!("link_{call}")));
    links()
        .filter_map(|call| Some((call, open(call).ok()?.into())))
        .collect()
}

/// Loads the object again if the last agent ended before the program for failed execs was loaded.
pub(super) fn unfinished(options: &ProbeOptions) -> Result<Option<Unfinished>, ProbeError> {
    let is_pinned = |name: &str| options.pin_dir.join(format!("prog_{name}")).exists();
    // Older agents did not watch the other tables and have not pinned that program.
    if !options.failed_exec
        || is_pinned(FAILED_PROGRAM)
            && (is_pinned(COMPAT_PROGRAM)
                || !has_compat_table(&fs::read(&options.btf).unwrap_or_default()))
    {
        return Ok(None);
    }
    object(options, true).map(Some)
}
