//! The probes for failed execs. They are on system calls, so they are attached only while a session
//! is open.

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, TracePoint};
use tracing::{info, warn};
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
    pub fn finish(&mut self) {
        if let Err(error) = self.load_failed() {
            self.failed_unseen(&error);
        }
    }

    /// Tries once: the next agent loads a program that the kernel has refused.
    fn load_failed(&mut self) -> Result<(), ProbeError> {
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

    fn link(&self, call: &str) -> PathBuf {
        self.options.pin_dir.join(format!("link_{call}"))
    }

    /// Logs, once, that failed execs are not recorded.
    fn failed_unseen(&mut self, error: &ProbeError) {
        if !std::mem::replace(&mut self.failed_unseen, true) {
            warn!(error = %WithCauses(error), "Failed execs are not recorded.");
        }
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

    /// Attaches the probes for failed execs unless they are attached. A failure is logged once. The caller calls this
    /// again from time to time, because the reason may disappear: tracefs may be mounted later.
    pub fn watch_failed_execs(&mut self) {
        if !self.options.failed_exec || self.failed_attached {
            return;
        }
        match self.load_failed().and_then(|()| self.attach_failed()) {
            Ok(()) => {
                self.failed_attached = true;
                if std::mem::take(&mut self.failed_unseen) {
                    info!("Failed execs are recorded.");
                }
            }
            Err(error) => {
                // The first of two links would cost every process of the host, and record a half.
                self.detach_failed();
                self.failed_unseen(&error);
            }
        }
    }

    /// Detaches the probes for failed execs: as probes on system calls they cost every process of the host a little.
    pub fn rest_failed_execs(&mut self) {
        if self.failed_attached {
            self.detach_failed();
            self.failed_attached = false;
        }
    }

    fn attach_failed(&mut self) -> Result<(), ProbeError> {
        // aya looks for tracefs once per process, and would not see it when it is mounted later.
        if !has_tracepoint(Path::new("/")) {
            return Err(ProbeError::NoTracepoint);
        }
        let name = FAILED_PROGRAM;
        let mut program = TracePoint::from_pin(self.program(name))
            .map_err(|source| ProbeError::Attach { name, source })?;
        for call in FAILED_CALLS {
            let pin = self.link(call);
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
        Ok(())
    }

    fn detach_failed(&mut self) {
        self.failed.clear();
        for call in links() {
            let pin = self.link(call);
            if let Err(error) = fs::remove_file(pin)
                && error.kind() != ErrorKind::NotFound
            {
                warn!(%error, call, "A probe for failed execs could not be detached.");
            }
        }
    }

    /// Attaches the program for the other tables. If that fails, the native table is still watched.
    fn watch_compat(&mut self) {
        let name = COMPAT_PROGRAM;
        let pin = self.link(name);
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
