//! The probe in the kernel: find its offsets, load, pin and test it, read its ring.
pub mod btf;
mod exec_exit_trial;
mod exec_exits;
mod failed;
mod failed_links;
pub mod kernel;
mod leave_exits;
pub mod load;
pub mod maps;
mod object;
pub mod pid_namespace;
mod pin_dir;
mod preemption;
mod process_facts;
pub mod ring;
mod second_copies;
pub mod self_test;
mod skips;
mod watch;

use std::io;
use std::path::{Path, PathBuf};

use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;

use crate::trusted_dir::UntrustedDir;

pub use exec_exit_trial::try_exec_exits;
pub use failed_links::has_tracepoint;
pub use load::Probe;
pub use maps::Maps;
pub use preemption::preemptible_by;
pub use second_copies::copy_skips;
pub use skips::CopySkips;
pub use watch::{PINNED_LINKS, Pins};

/// Options for loading the probe.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    pub pin_dir: PathBuf,
    /// A power of two, and a multiple of the page size.
    pub ring_bytes: u32,
    pub capture_all: bool,
    pub failed_exec: bool,
    /// Writes the probe's own diagnostics to the agent's log.
    pub log: bool,
    /// File with the running kernel's types: [`KERNEL_BTF`], except in tests.
    pub btf: PathBuf,
    /// Program that the self-test starts; its `main` calls [`self_test::child`]. [`OWN_PROGRAM`],
    /// except in tests, which are separate programs.
    pub self_test: PathBuf,
}

/// The running kernel's types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// The running program.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Reason why the probe cannot be used. Each stops the agent: no data is better than wrong data.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("another agent uses the pin directory `{}`", dir.display())]
    InUse { dir: PathBuf },
    #[error("pin directory `{}` contains the state of a newer agent (version {found}; this agent has {ours})", dir.display())]
    NewerState { dir: PathBuf, found: u64, ours: u32 },
    #[error("this process has a PID namespace of its own, where /proc has no process of the host")]
    PidNamespace,
    #[error("Linux {release} is older than 5.12, which the probe needs")]
    OldKernel { release: String },
    #[error("kernel lockdown is `confidentiality`: BPF may not read kernel memory")]
    LockedDown,
    #[error("cannot use the pin directory `{}`", dir.display())]
    Pins { dir: PathBuf, source: io::Error },
    #[error(transparent)]
    Untrusted(#[from] UntrustedDir),
    #[error("pin directory `{}` is not in bpffs", dir.display())]
    NotBpffs { dir: PathBuf },
    #[error("cannot read the kernel's type information `{}`", path.display())]
    NoBtf { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Layout(#[from] btf::BtfError),
    #[error("cannot parse the kernel's type information")]
    Btf { source: aya::BtfError },
    #[error("cannot find the number of CPUs")]
    Cpus { source: io::Error },
    #[error("the compiled probe has no `{name}`")]
    Object { name: &'static str },
    #[error("the kernel refuses the probe")]
    Load { source: Box<aya::EbpfError> },
    #[error("the kernel refuses the probe `{name}`")]
    Attach {
        name: &'static str,
        source: ProgramError,
    },
    #[error(
        "the tracepoints of system calls are not found: `mount -t tracefs tracefs /sys/kernel/tracing`, or set \
         `failed_exec: false` if the kernel has none"
    )]
    NoTracepoint,
    #[error(
        "`kernel.ftrace_enabled` is 0, so the kernel does not run the probes at the exit of exec"
    )]
    FtraceOff,
    #[error("cannot keep the probe `{name}` attached without the agent")]
    Link {
        name: &'static str,
        source: LinkError,
    },
    #[error("cannot pin `{name}`")]
    Pin {
        name: &'static str,
        source: PinError,
    },
    #[error("cannot use the probe's map `{name}`")]
    Map {
        name: &'static str,
        source: MapError,
    },
    #[error("the probe's map `{name}` changes faster than it can be listed")]
    MapChanges { name: &'static str },
    #[error("cannot map the ring")]
    MapRing { source: io::Error },
    #[error(
        "self-test: the probe reads the kernel's `{field}` as {found}, but /proc shows {expected}"
    )]
    SelfTest {
        field: &'static str,
        found: String,
        expected: String,
    },
    #[error("self-test: {what}")]
    SelfTestFailed { what: &'static str },
    #[error("self-test: cannot {what}")]
    SelfTestIo {
        what: &'static str,
        source: io::Error,
    },
}

impl ProbeError {
    /// Returns the next step for the administrator.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "stop the other agent, or give this one another `pin_dir`",
            Self::NewerState { .. } => {
                "run the newer agent, or its `vctl-agent detach` to start again"
            }
            Self::PidNamespace => {
                "run the agent on the host, or give its container the PID namespace of the host \
                 (`--pid=host`, `hostPID: true`)"
            }
            Self::Untrusted(_) => {
                "the pin directory and all above it must be root's, or another user could end the \
                 recording"
            }
            Self::NotBpffs { .. } | Self::Pins { .. } | Self::Pin { .. } => {
                "mount a BPF filesystem: `mount -t bpf bpf /sys/fs/bpf`, and run as root"
            }
            Self::OldKernel { .. } => "boot Linux 5.15 or newer",
            Self::LockedDown => "boot with lockdown=integrity",
            Self::NoBtf { .. } => {
                "boot a kernel built with CONFIG_DEBUG_INFO_BTF, as in every distribution: \
                 `grep BTF= /boot/config-$(uname -r)` shows it"
            }
            Self::SelfTest { .. } | Self::Layout(_) => {
                "report this kernel's version; the probe must not run on it"
            }
            _ => "run `vctl-agent check` to find what is missing on this host",
        }
    }
}

/// Removes the probe from the kernel: all links, maps and programs pinned in `dir`.
///
/// # Errors
/// `InUse` while an agent runs.
pub fn detach(dir: &Path) -> Result<bool, ProbeError> {
    if !dir.exists() {
        return Ok(false);
    }
    let _lock = load::lock(dir)?;
    pin_dir::remove(dir).map_err(|source| ProbeError::Pins {
        dir: dir.to_owned(),
        source,
    })?;
    Ok(true)
}
