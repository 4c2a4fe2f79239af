//! The probes for failed execs: on system calls, so attached only while a session is open.

use std::fs;
use std::path::Path;

use aya::Ebpf;
use aya::programs::TracePoint;
use aya::programs::links::{FdLink, PinnedLink};
use tracing::{debug, warn};

use super::load::{Probe, object};
use super::{ProbeError, ProbeOptions};

/// One program for two system calls, each with a link of its own.
const FAILED_PROGRAM: &str = "exec_failed";
pub(super) const FAILED_CALLS: [&str; 2] = ["sys_exit_execve", "sys_exit_execveat"];

impl Probe {
    /// Brings the program for failed execs into the kernel, which takes a third of the whole start:
    /// the agent is ready without it, as it is attached with the first session only.
    pub fn finish(&mut self) -> Result<(), ProbeError> {
        let Some(mut ebpf) = self.unfinished.take() else {
            return Ok(());
        };
        let name = FAILED_PROGRAM;
        let program: &mut TracePoint = ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or(ProbeError::Object { name })?;
        program
            .load()
            .map_err(|source| ProbeError::Attach { name, source })?;
        program
            .pin(self.options.pin_dir.join(format!("prog_{name}")))
            .map_err(|source| ProbeError::Pin { name, source })
    }

    /// Attaches the probes for failed execs while a session is open, and takes them away again:
    /// they are on system calls, which then cost every process of the host a little.
    pub fn watch_failed_execs(&mut self, wanted: bool) -> Result<(), ProbeError> {
        if !self.options.failed_exec || wanted == self.failed_attached {
            return Ok(());
        }
        self.finish()?;
        let name = FAILED_PROGRAM;
        if wanted {
            let program = self.options.pin_dir.join(format!("prog_{name}"));
            let mut program = TracePoint::from_pin(program)
                .map_err(|source| ProbeError::Attach { name, source })?;
            for call in FAILED_CALLS {
                let pin = self.options.pin_dir.join(format!("link_{call}"));
                // An agent that was killed in here may have come as far as the first.
                if pin.exists() {
                    continue;
                }
                let link = program
                    .attach("syscalls", call)
                    .and_then(|id| program.take_link(id))
                    .map_err(|source| ProbeError::Attach { name, source })?;
                let link: FdLink = link
                    .try_into()
                    .map_err(|source| ProbeError::Link { name, source })?;
                link.pin(pin)
                    .map_err(|source| ProbeError::Pin { name, source })?;
            }
            self.failed = failed_links(&self.options.pin_dir);
        } else {
            self.failed.clear();
            for call in FAILED_CALLS {
                let pin = self.options.pin_dir.join(format!("link_{call}"));
                if let Err(source) = fs::remove_file(pin) {
                    warn!(%source, call, "A probe for failed execs could not be taken away.");
                }
            }
        }
        self.failed_attached = wanted;
        debug!(attached = wanted, "Changed the probes for failed execs.");
        Ok(())
    }
}

/// Loads the object again when the last agent ended before the program for failed execs was in place.
pub(super) fn unfinished(options: &ProbeOptions) -> Result<Option<Ebpf>, ProbeError> {
    let program = options.pin_dir.join(format!("prog_{FAILED_PROGRAM}"));
    if !options.failed_exec || program.exists() {
        return Ok(None);
    }
    object(options, true).map(|(ebpf, _)| Some(ebpf))
}

/// Opens the links of failed execs, so that they stay attached without their pins.
pub(super) fn failed_links(dir: &Path) -> Vec<(&'static str, FdLink)> {
    let open = |call: &str| PinnedLink::from_pin(dir.join(format!("link_{call}")));
    let links = FAILED_CALLS.into_iter();
    links
        .filter_map(|call| Some((call, open(call).ok()?.into())))
        .collect()
}
