//! A trial of the probes at the exit of exec, beside the pinned ones.

use super::exec_exits::{ExecExits, native};
use super::object::{ProgramCopy, object};
use super::{Maps, ProbeError, ProbeOptions, self_test};

/// Records failed execs at the exit of exec, with maps of its own, and removes the probes again.
///
/// # Errors
/// The kernel refuses a probe, or does not run it.
pub fn try_exec_exits(options: &ProbeOptions) -> Result<(), ProbeError> {
    let mut object = object(options, ProgramCopy::Only)?;
    let _attached = ExecExits::attach(&mut object.ebpf, &object.kernel.btf, &native(), None)?;
    let mut maps = Maps::of(&mut object.ebpf)?;
    self_test::failed_exec::run(&mut maps, &options.self_test)
}
