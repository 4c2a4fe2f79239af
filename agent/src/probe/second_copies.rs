//! Second copies of the programs for fork, exec and exit, on kernels that may skip one.
//!
//! From Linux 7.0 on the kernel preempts tracepoints, and skips a program while a preempted task of the CPU is inside the
//! same program. So the object is loaded once more, with the same maps, and its copies handle the events for which the
//! first ones were skipped. An event is lost only if both were skipped.

use std::path::{Path, PathBuf};

use aya::programs::BtfTracePoint;
use aya::programs::links::FdLink;
use aya::{Btf, Ebpf};
use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::status::SkipBase;

use super::kernel::preempts_tracepoints;
use super::object::{ProgramCopy, Unfinished, load_programs, object};
use super::skips::{CopySkips, skipped};
use super::{ProbeError, ProbeOptions};

/// A program of which the kernel may have two copies.
pub(super) struct Doubled {
    pub(super) program: &'static str,
    tracepoint: &'static str,
    /// Name in the pins of the second copy.
    pub(super) second: &'static str,
    /// Writes a record also for processes without a mark, with `capture: all`. The second copy does not: such an event
    /// leaves no trace by which it would know that the first one has handled it.
    pub(super) records_unmarked: bool,
}

/// Exit comes first, so that no mark outlives its process.
pub(super) const DOUBLED: [Doubled; 3] = [
    Doubled {
        program: "process_exit",
        tracepoint: "sched_process_exit",
        second: "process_exit_second",
        records_unmarked: true,
    },
    Doubled {
        program: "process_fork",
        tracepoint: "sched_process_fork",
        second: "process_fork_second",
        records_unmarked: false,
    },
    Doubled {
        program: EXEC,
        tracepoint: "sched_process_exec",
        second: "process_exec_second",
        records_unmarked: true,
    },
];

/// A first copy notes its execs for the second one, or does not know of it: so it is loaded only with the first one.
const EXEC: &str = "process_exec";

/// Attaches and pins all second copies, right after the first ones. Without a copy, the record states the skips.
pub(super) fn attach_new(first: &Unfinished, options: &ProbeOptions) {
    if first.copy == ProgramCopy::First {
        let loaded = load_programs(&first.kernel, options, ProgramCopy::Second);
        warn_of(
            loaded.and_then(|mut second| attach(&mut second, &first.kernel.btf, options, |_| true)),
        );
    }
}

/// Attaches the second copies that a probe of an earlier agent lacks. Returns how often both copies had been skipped by
/// then.
pub(super) fn attach_missing(options: &ProbeOptions) -> Vec<(&'static str, SkipBase)> {
    if !preempts_tracepoints(Path::new("/")) {
        return Vec::new();
    }
    let dir = &options.pin_dir;
    let lacking = DOUBLED
        .iter()
        .filter(|doubled| !link_path(dir, doubled.second).exists());
    let (mut absent, mut linked) = (Vec::new(), Vec::new());
    for doubled in lacking {
        let Doubled {
            program, second, ..
        } = doubled;
        if program_path(dir, second).exists() {
            warn_of(attach_pinned(dir, second));
            linked.push(*program);
        } else if *program != EXEC {
            absent.push(*program);
        }
    }
    if !absent.is_empty() {
        let loaded = object(options, ProgramCopy::Second);
        warn_of(loaded.and_then(|mut second| {
            let Unfinished { ebpf, kernel, .. } = &mut second;
            attach(ebpf, &kernel.btf, options, |program| {
                absent.contains(&program)
            })
        }));
    }
    let attached = absent.into_iter().chain(linked);
    let skips = copy_skips(dir);
    let base = |program| {
        let skips = skips.iter().find(|skips| skips.program == program)?;
        let (first, second) = (skips.first, skips.second.unwrap_or(0));
        Some((program, SkipBase { first, second }))
    };
    attached.filter_map(base).collect()
}

/// Returns the names of the second copies that are attached.
pub(super) fn attached(dir: &Path) -> impl Iterator<Item = &'static str> {
    let names = DOUBLED.iter().map(|doubled| doubled.second);
    names.filter(|name| link_path(dir, name).exists())
}

/// Reads the skips of the programs that may have two copies, pinned in `dir`. Leaves out a program that cannot be read.
pub fn copy_skips(dir: &Path) -> Vec<CopySkips> {
    let count = |name: &str| {
        let program = BtfTracePoint::from_pin(dir.join(format!("prog_{name}"))).ok()?;
        skipped(program.fd().ok()?).ok()
    };
    let both = DOUBLED.iter().filter_map(|doubled| {
        Some(CopySkips {
            program: doubled.program,
            first: count(doubled.program)?,
            second: count(doubled.second),
            base: SkipBase::default(),
            is_first_alone: false,
        })
    });
    both.collect()
}

fn attach(
    ebpf: &mut Ebpf,
    btf: &Btf,
    options: &ProbeOptions,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<(), ProbeError> {
    let dir = &options.pin_dir;
    for doubled in DOUBLED.iter().filter(|doubled| is_wanted(doubled.program)) {
        let name = doubled.program;
        let program: &mut BtfTracePoint = ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or(ProbeError::Object { name })?;
        let name = doubled.second;
        program
            .load(doubled.tracepoint, btf)
            .map_err(|source| ProbeError::Attach { name, source })?;
        program
            .pin(program_path(dir, name))
            .map_err(|source| ProbeError::Pin { name, source })?;
        pin_link(program, dir, name)?;
    }
    Ok(())
}

/// Attaches a pinned program again, after its link was removed while no agent ran.
fn attach_pinned(dir: &Path, name: &'static str) -> Result<(), ProbeError> {
    let program = BtfTracePoint::from_pin(program_path(dir, name));
    let mut program = program.map_err(|source| ProbeError::Attach { name, source })?;
    pin_link(&mut program, dir, name)
}

fn pin_link(program: &mut BtfTracePoint, dir: &Path, name: &'static str) -> Result<(), ProbeError> {
    let link = program.attach().and_then(|id| program.take_link(id));
    let link = link.map_err(|source| ProbeError::Attach { name, source })?;
    FdLink::from(link)
        .pin(link_path(dir, name))
        .map_err(|source| ProbeError::Pin { name, source })?;
    Ok(())
}

fn warn_of(result: Result<(), ProbeError>) {
    if let Err(error) = result {
        warn!(error = %WithCauses(&error), "The kernel may skip probes of this host, and a second copy of them cannot be attached.");
    }
}

fn program_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("prog_{name}"))
}

fn link_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("link_{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_copy_is_named_after_its_program() {
        for doubled in DOUBLED {
            assert_eq!(doubled.second, format!("{}_second", doubled.program));
        }
    }
}
