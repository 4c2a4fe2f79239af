//! The compiled probe: its programs, and how it is prepared for the running kernel.

use std::fs;
use std::path::Path;

use aya::{Ebpf, EbpfLoader, Endianness};
use vctl_common::layout::{ABSENT, LAYOUT_LEN, SELF_EXEC_ID};

use super::btf::{self, Btf};
use super::exec_exits;
use super::kernel::preempts_tracepoints;
use super::maps;
use super::{ProbeError, ProbeOptions};

/// The compiled probe. `cargo xtask ebpf check` builds it from `agent-ebpf` and compares.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../ebpf/vctl-probe.o");

/// The programs, each with its tracepoint.
pub(super) const PROGRAMS: [(&str, &str); 4] = [
    ("process_fork", "sched_process_fork"),
    ("process_exit", "sched_process_exit"),
    ("process_exec", "sched_process_exec"),
    ("cgroup_attach", "cgroup_attach_task"),
];

/// Functions of the kernel that are used only by the 32-bit and x32 tables of system calls: a kernel
/// without them has no such table, so no exec can be missed.
const COMPAT_FUNCTIONS: [&str; 3] = [
    "__ia32_compat_sys_execve",
    "__x64_compat_sys_execve",
    "__arm64_compat_sys_execve",
];

/// The native system call, by architecture.
const NATIVE_FUNCTIONS: [&str; 2] = ["__x64_sys_execve", "__arm64_sys_execve"];

/// What the programs need to know about the running kernel.
pub(super) struct KernelTypes {
    pub(super) btf: aya::Btf,
    layout: [u32; LAYOUT_LEN],
    /// Whether the kernel has another table of system calls besides its native one.
    pub(super) has_compat_table: bool,
    /// Functions of the kernel that return the result of an exec.
    pub(super) exec_functions: Vec<&'static str>,
}

/// The loaded object, with the programs that are not needed at start.
pub(super) struct Unfinished {
    pub(super) ebpf: Ebpf,
    pub(super) copy: ProgramCopy,
    pub(super) kernel: KernelTypes,
}

/// The maps of a loaded object, and which copy its programs for fork, exec and exit are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramCopy {
    /// The only one, with maps of its own.
    Only,
    /// The first of two, with maps of its own.
    First,
    /// The second of two, with the pinned maps.
    Second,
    /// None: programs for failed execs, with the pinned maps.
    Neither,
}

impl ProgramCopy {
    /// Returns the value of the probe's `COPY`.
    fn number(self) -> u32 {
        match self {
            Self::Only | Self::Neither => 0,
            Self::First => 1,
            Self::Second => 2,
        }
    }
}

/// Loads the object. `Only` becomes `First` where a second copy is useful.
pub(super) fn object(options: &ProbeOptions, copy: ProgramCopy) -> Result<Unfinished, ProbeError> {
    // Read once for both parsers: the kernel returns it in a thousand small pieces.
    let bytes = fs::read(&options.btf).map_err(|source| ProbeError::NoBtf {
        path: options.btf.clone(),
        source,
    })?;
    let layout = kernel_layout(&bytes)?;
    let btf = aya::Btf::parse(&bytes, Endianness::default())
        .map_err(|source| ProbeError::Btf { source })?;
    let has_compat_table = has_compat_table(&bytes);
    let exec_functions = exec_exits::functions(&bytes);
    drop(bytes);
    let is_first = copy == ProgramCopy::Only
        && layout[SELF_EXEC_ID] != ABSENT
        && preempts_tracepoints(Path::new("/"));
    let copy = if is_first { ProgramCopy::First } else { copy };
    let kernel = KernelTypes {
        btf,
        layout,
        has_compat_table,
        exec_functions,
    };
    let ebpf = load_programs(&kernel, options, copy)?;
    Ok(Unfinished { ebpf, copy, kernel })
}

/// Creates the object's maps, or uses the pinned ones. No program of it is in the kernel yet.
pub(super) fn load_programs(
    kernel: &KernelTypes,
    options: &ProbeOptions,
    copy: ProgramCopy,
) -> Result<Ebpf, ProbeError> {
    let capture_all = u32::from(options.capture_all);
    let log_level = if options.log { 5_u8 } else { 0 };
    let cpus = aya::util::nr_cpus().map_err(|(_, source)| ProbeError::Cpus { source })?;
    let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
    let copy_number = copy.number();
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(&kernel.btf))
        .override_global("LAYOUT", &kernel.layout, true)
        .override_global("CAPTURE_ALL", &capture_all, true)
        .override_global("COPY", &copy_number, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries("ring", options.ring_bytes)
        .map_max_entries("exec_scratch", cpus)
        .map_max_entries(
            "failed_scratch",
            exec_exits::scratch_count(&kernel.exec_functions),
        );
    if matches!(copy, ProgramCopy::Second | ProgramCopy::Neither) {
        for name in maps::names(&options.pin_dir) {
            loader.map_pin_path(name, options.pin_dir.join(name));
        }
    }
    loader.load(OBJECT).map_err(|source| ProbeError::Load {
        source: Box::new(source),
    })
}

/// Finds the offset of every member that the probe reads, in the running kernel's BTF.
fn kernel_layout(bytes: &[u8]) -> Result<[u32; LAYOUT_LEN], ProbeError> {
    let btf = Btf::parse(bytes)?;
    let layout = btf::layout(&btf)?;
    match btf.missing_tracepoint(&PROGRAMS.map(|(_, tracepoint)| tracepoint)) {
        Some(name) => Err(btf::BtfError::NoTracepoint { name }.into()),
        None => Ok(layout),
    }
}

/// Returns whether the kernel with this type information has another table of system calls besides
/// its native one.
pub(super) fn has_compat_table(btf: &[u8]) -> bool {
    let names =
        |function: &str| memchr::memmem::find(btf, format!("\0{function}\0").as_bytes()).is_some();
    // Type information without even the native call is incomplete, so the probe is loaded.
    COMPAT_FUNCTIONS.into_iter().any(names) || !NATIVE_FUNCTIONS.into_iter().any(names)
}
