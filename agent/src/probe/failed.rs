//! The probes for failed execs: at the exit of exec where the kernel runs such probes for each exec, else at the end of
//! system calls.
//!
//! Probes on system calls cost every process of the host, so they are attached only while a session is open. The
//! agent never attaches both kinds: each would record the same exec.

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use aya::programs::links::FdLink;
use aya::programs::{BtfTracePoint, TracePoint};
use tracing::{info, warn};
use vctl_common::causes::WithCauses;
use vctl_common::status::FailedExecs;
use vctl_common::wire;

use super::exec_exits::{self, ExecExits, is_ftrace_on};
use super::failed_links::{
    COMPAT_PROGRAM, FAILED_CALLS, FAILED_PROGRAM, failed_links, has_tracepoint, links,
};
use super::load::Probe;
use super::maps::PinnedState;
use super::object::{ProgramCopy, Unfinished, has_compat_table, object};
use super::preemption::preemptible_by;
use super::{ProbeError, self_test};

/// The end of every system call.
const COMPAT_TRACEPOINT: &str = "sys_exit";

impl Probe {
    /// Loads the programs for failed execs into the kernel. This takes longer than the rest of the start, so the agent
    /// is ready before it.
    pub fn finish(&mut self) {
        if let Err(error) = self.prepare() {
            self.failed_unseen(&error);
        }
        self.unfinished = None;
    }

    fn prepare(&mut self) -> Result<(), ProbeError> {
        if !self.options.failed_exec {
            return self.remove_exits();
        }
        self.decide()?;
        if self.exits.is_empty() {
            self.load_failed()?;
        }
        Ok(())
    }

    /// Attaches the probes at the exit of exec if the kernel runs them for each exec. Tries once for each loaded probe.
    fn decide(&mut self) -> Result<(), ProbeError> {
        // The probes of an earlier agent stay until they rest: between them and others an exec would be lost, or
        // recorded twice.
        if !self.is_undecided || self.failed_attached {
            return Ok(());
        }
        if self.maps.state().skipped_exits {
            self.is_undecided = false;
            return Ok(());
        }
        // Left by an agent that was killed while it attached or detached.
        self.detach_failed();
        exec_exits::remove(&self.options.pin_dir)?;
        if let Some(source) = preemptible_by(Path::new("/")) {
            info!(
                source,
                "This kernel is preemptible; failed execs are watched at the end of system calls."
            );
        } else if let Err(error) = self.attach_exits() {
            info!(error = %WithCauses(&error), "This kernel runs no probes at the exit of exec; failed execs are watched at the end of system calls.");
            exec_exits::remove(&self.options.pin_dir)?;
        }
        self.is_undecided = false;
        self.maps.set_state(PinnedState {
            version: u64::from(wire::VERSION),
            exec_exits: !self.exits.is_empty(),
            ..self.maps.state()
        })
    }

    fn attach_exits(&mut self) -> Result<(), ProbeError> {
        let mut unfinished = self.take_unfinished()?;
        let Unfinished { ebpf, kernel, .. } = &mut unfinished;
        let dir = &self.options.pin_dir;
        let attached = ExecExits::attach(ebpf, &kernel.btf, &kernel.exec_functions, Some(dir));
        self.unfinished = Some(unfinished);
        let exits = attached?;
        self_test::failed_exec::run(&mut self.maps, &self.options.self_test)?;
        let exits = exits.pin(dir)?;
        (self.exits, self.failed) = (exits.programs, exits.links);
        Ok(())
    }

    /// Returns the loaded object. Loads it again, with the pinned maps, if that was not at this start.
    fn take_unfinished(&mut self) -> Result<Unfinished, ProbeError> {
        match self.unfinished.take() {
            Some(unfinished) => Ok(unfinished),
            None => object(&self.options, ProgramCopy::Neither),
        }
    }

    /// Tries once: the next agent loads a program that the kernel has refused.
    pub(super) fn load_failed(&mut self) -> Result<(), ProbeError> {
        if std::mem::replace(&mut self.is_failed_loaded, true) {
            return Ok(());
        }
        let is_pinned = |name: &str| self.program(name).exists();
        // Older agents did not watch the other tables and have not pinned that program.
        if is_pinned(FAILED_PROGRAM)
            && (is_pinned(COMPAT_PROGRAM)
                || !has_compat_table(&fs::read(&self.options.btf).unwrap_or_default()))
        {
            return Ok(());
        }
        let Unfinished {
            mut ebpf, kernel, ..
        } = self.take_unfinished()?;
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
        if !self.program(name).exists() && kernel.has_compat_table {
            let program: &mut BtfTracePoint = ebpf
                .program_mut(name)
                .and_then(|program| program.try_into().ok())
                .ok_or(ProbeError::Object { name })?;
            match program.load(COMPAT_TRACEPOINT, &kernel.btf) {
                Ok(()) => program
                    .pin(self.program(name))
                    .map_err(|source| ProbeError::Pin { name, source })?,
                Err(error) => self.compat_unseen(&error),
            }
        }
        Ok(())
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
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

    /// Returns the probes that watch failed execs.
    pub fn failed_execs(&self) -> FailedExecs {
        if !self.options.failed_exec {
            FailedExecs::Off
        } else if !self.exits.is_empty() {
            FailedExecs::ExecExit
        } else {
            FailedExecs::SystemCallExit
        }
    }

    /// Attaches the probes for failed execs unless they are attached. A failure is logged once. The caller calls this
    /// again from time to time, because the reason may disappear: tracefs may be mounted later.
    pub fn watch_failed_execs(&mut self) {
        if !self.options.failed_exec || self.failed_attached {
            return;
        }
        match self.prepare().and_then(|()| self.attach_failed()) {
            Ok(()) => {
                if std::mem::take(&mut self.failed_unseen) {
                    info!("Failed execs are recorded.");
                }
            }
            Err(error) => {
                if self.exits.is_empty() {
                    // The first of two links would cost every process of the host, and record a half.
                    self.detach_failed();
                }
                self.failed_unseen(&error);
            }
        }
    }

    /// Detaches the probes on system calls, which cost every process of the host a little. No session may be open. If
    /// an earlier agent attached them, probes at the exit of exec then replace them. If it attached probes at the exit of
    /// exec that this kernel may skip, these are removed.
    pub fn rest_failed_execs(&mut self) {
        self.leave_preemptible_exits();
        if self.failed_attached {
            self.detach_failed();
            self.failed_attached = false;
            if self.is_undecided {
                self.finish();
            }
        }
    }

    /// Returns whether probes of an earlier agent are to be replaced as soon as no session is open.
    pub fn is_replacing(&self) -> bool {
        self.is_leaving || self.failed_attached && self.is_undecided
    }

    fn attach_failed(&mut self) -> Result<(), ProbeError> {
        if !self.exits.is_empty() {
            let is_on = is_ftrace_on(Path::new("/"));
            return if is_on {
                Ok(())
            } else {
                Err(ProbeError::FtraceOff)
            };
        }
        // aya looks for tracefs once per process, and would not see it when it is mounted later.
        if !has_tracepoint(Path::new("/")) {
            return Err(ProbeError::NoTracepoint);
        }
        // Left by an agent that was killed while it changed to these probes. Together both would record an exec twice.
        exec_exits::remove(&self.options.pin_dir)?;
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
        self.failed_attached = true;
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
