//! The probes for failed execs. They are on system calls, so they are attached only while a session
//! is open.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, TracePoint};
use tracing::{debug, info, warn};
use vctl_common::causes::WithCauses;

use super::ProbeError;
use super::failed_links::{COMPAT_PROGRAM, FAILED_CALLS, FAILED_PROGRAM, failed_links, links};
use super::load::Probe;
use super::object::Unfinished;

/// The end of every system call.
const COMPAT_TRACEPOINT: &str = "sys_exit";

/// Returns whether the tracepoint of execve's result can be reached below `root`.
pub fn has_tracepoint(root: &Path) -> bool {
    let places = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];
    let id = format!("events/syscalls/{}/id", FAILED_CALLS[0]);
    places.iter().any(|at| root.join(at).join(&id).exists())
}

impl Probe {
    /// Loads the program for failed execs into the kernel. This takes a third of the whole start,
    /// so the agent is ready before it: the program is attached only with the first session.
    pub fn finish(&mut self) -> Result<(), ProbeError> {
        let Some(unfinished) = self.unfinished.take() else {
            return Ok(());
        };
        let Unfinished {
            mut ebpf,
            btf,
            has_compat_table,
        } = unfinished;
        let name = FAILED_PROGRAM;
        if !self.program(name).exists() {
            let program: &mut TracePoint = ebpf
                .program_mut(name)
                .and_then(|program| program.try_into().ok())
                .ok_or(ProbeError::Object { name })?;
            program
                .load()
                .map_err(|source| ProbeError::Attach { name, source })?;
            program
                .pin(self.program(name))
                .map_err(|source| ProbeError::Pin { name, source })?;
        }
        let name = COMPAT_PROGRAM;
        if !self.program(name).exists() && has_compat_table {
            let program: &mut BtfTracePoint = ebpf
                .program_mut(name)
                .and_then(|program| program.try_into().ok())
                .ok_or(ProbeError::Object { name })?;
            match program.load(COMPAT_TRACEPOINT, &btf) {
                Ok(()) => program
                    .pin(self.program(name))
                    .map_err(|source| ProbeError::Pin { name, source })?,
                Err(error) => self.compat_unseen(&error),
            }
        }
        Ok(())
    }

    fn program(&self, name: &str) -> PathBuf {
        self.options.pin_dir.join(format!("prog_{name}"))
    }

    /// Logs, once, that failed execs of the other tables are not recorded.
    fn compat_unseen(&mut self, error: &dyn Error) {
        if !std::mem::replace(&mut self.compat_unseen, true) {
            warn!(error = %WithCauses(error), "Failed execs through the 32-bit table of system calls are not recorded.");
        }
    }

    /// Returns whether failed execs of a table of system calls are not recorded.
    pub fn misses_failed_execs(&self) -> bool {
        self.failed_unseen || self.compat_unseen
    }

    /// Attaches the probes for failed execs unless they are attached. A failure is logged once; call this again from
    /// time to time, because the reason may go away: tracefs may be mounted later.
    pub fn watch_failed_execs(&mut self) {
        match self.set_failed_execs(true) {
            Ok(()) if self.failed_unseen => {
                info!("Failed execs are recorded.");
                self.failed_unseen = false;
            }
            Err(error) if !self.failed_unseen => {
                warn!(error = %WithCauses(&error), "Failed execs are not recorded.");
                self.failed_unseen = true;
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Detaches the probes for failed execs: as probes on system calls they cost every process of the host a little.
    pub fn rest_failed_execs(&mut self) {
        if let Err(error) = self.set_failed_execs(false) {
            warn!(error = %WithCauses(&error), "The probes for failed execs stay attached.");
        }
    }

    fn set_failed_execs(&mut self, wanted: bool) -> Result<(), ProbeError> {
        if !self.options.failed_exec || wanted == self.failed_attached {
            return Ok(());
        }
        self.finish()?;
        let name = FAILED_PROGRAM;
        if wanted {
            let program = self.options.pin_dir.join(format!("prog_{name}"));
            let mut program = TracePoint::from_pin(program)
                .map_err(|source| ProbeError::Attach { name, source })?;
            // aya looks for tracefs once per process, and would not see it when it is mounted later.
            if !has_tracepoint(Path::new("/")) {
                return Err(ProbeError::NoTracefs);
            }
            for call in FAILED_CALLS {
                let pin = self.options.pin_dir.join(format!("link_{call}"));
                // An agent that was killed here may have pinned only the first.
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
            self.watch_compat();
            self.failed = failed_links(&self.options.pin_dir);
        } else {
            self.failed.clear();
            for call in links() {
                if !self.options.pin_dir.join(format!("link_{call}")).exists() {
                    continue;
                }
                let pin = self.options.pin_dir.join(format!("link_{call}"));
                if let Err(source) = fs::remove_file(pin) {
                    warn!(error = %WithCauses(&source), call, "A probe for failed execs could not be detached.");
                }
            }
        }
        self.failed_attached = wanted;
        debug!(attached = wanted, "Changed the probes for failed execs.");
        Ok(())
    }

    /// Attaches the program for the other tables. If that fails, the native table is still watched.
    fn watch_compat(&mut self) {
        let name = COMPAT_PROGRAM;
        let pin = self.options.pin_dir.join(format!("link_{name}"));
        let path = self.program(name);
        if pin.exists() || !path.exists() {
            return;
        }
        let attached = BtfTracePoint::from_pin(path).and_then(|mut program| {
            let id = program.attach()?;
            program.take_link(id)
        });
        match attached.map(|link| FdLink::from(link).pin(pin)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => self.compat_unseen(&error),
            Err(error) => self.compat_unseen(&error),
        }
    }
}
