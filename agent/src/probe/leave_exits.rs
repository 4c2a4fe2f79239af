//! The change from probes at the exit of exec to those at the end of system calls, on a preemptible kernel.
//!
//! Such a kernel (`preempt=full` or `lazy`) can put another process on the CPU while a probe at the exit of exec runs,
//! and then skips the probe for that one's exec. Up to Linux 6.19 it does not preempt tracepoints.

use std::path::Path;

use tracing::{info, warn};
use vctl_common::causes::WithCauses;

use super::failed_links::{FAILED_PROGRAM, has_tracepoint};
use super::load::Probe;
use super::maps::PinnedState;
use super::{ProbeError, exec_exits};

impl Probe {
    /// Watches failed execs at the end of system calls from now on, if the kernel has skipped a probe at the exit of exec.
    ///
    /// Such a kernel was not known to be preemptible, or its mode has changed since. A failed exec between the removal of
    /// one kind of probe and the attachment of the other is lost: the caller states that.
    pub fn leave_skipped_exits(&mut self) {
        if self.skipped_exits() == 0 || !self.leave_exits(true) {
            return;
        }
        self.watch_failed_execs();
        if self.failed_attached {
            info!(
                "This kernel skips probes at the exit of exec; failed execs are watched at the end of system calls."
            );
        }
    }

    /// Removes the probes of an earlier agent that this kernel may skip. No session may be open, so no exec is lost:
    /// the next session attaches the others. Tries once.
    pub(super) fn leave_preemptible_exits(&mut self) {
        if std::mem::take(&mut self.is_leaving) && self.leave_exits(false) {
            info!(
                "This kernel is preemptible; failed execs are watched at the end of system calls."
            );
        }
    }

    /// Loads the programs for the end of system calls, and removes the probes at the exit of exec. Keeps these if that
    /// fails, and logs it.
    fn leave_exits(&mut self, was_skipped: bool) -> bool {
        // First, because it takes the longest.
        let loaded = if has_tracepoint(Path::new("/")) {
            self.load_failed()
        } else {
            Err(ProbeError::NoTracepoint)
        };
        let left = loaded.and_then(|()| {
            // A second call after a refused program does nothing.
            if !self.program(FAILED_PROGRAM).exists() {
                return Ok(false);
            }
            let state = self.maps.state();
            self.maps.set_state(PinnedState {
                skipped_exits: state.skipped_exits || was_skipped,
                ..state
            })?;
            self.remove_exits()?;
            Ok(true)
        });
        left.unwrap_or_else(|error| {
            warn!(error = %WithCauses(&error), "This kernel skips probes at the exit of exec, and they cannot be replaced.");
            false
        })
    }

    /// Removes the probes at the exit of exec of an agent that recorded failed execs.
    pub(super) fn remove_exits(&mut self) -> Result<(), ProbeError> {
        if self.exits.is_empty() {
            return Ok(());
        }
        let state = self.maps.state();
        self.maps.set_state(PinnedState {
            exec_exits: false,
            ..state
        })?;
        self.is_leaving = false;
        self.exits.clear();
        self.failed.clear();
        exec_exits::remove(&self.options.pin_dir)
    }
}
