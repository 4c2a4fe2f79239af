//! Facts about a host that matter to the agent, without a judgement.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::pam::PamFiles;

/// Facts of one host. `None` and absent entries mean that they could not be read.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    pub is_root: bool,
    /// `uname -r`.
    pub kernel: Option<String>,
    /// Whether the kernel creates a ring buffer map; the error's text otherwise.
    pub bpf: Option<Result<(), String>>,
    /// Whether this process is in the PID namespace of the host.
    pub has_host_pids: Option<bool>,
    /// The needed typed tracepoints that the kernel's BTF has; `None` without BTF.
    pub btf_tracepoints: Option<Vec<&'static str>>,
    /// All of `/proc/self/mountinfo`.
    pub mountinfo: String,
    pub exec_exits: ExecExitFact,
    /// Whether tracefs has the tracepoint of execve's result.
    pub has_exec_tracepoint: bool,
    /// Whether `/proc/self/loginuid` and `sessionid` exist: the kernel counts audit sessions.
    pub has_audit_ids: bool,
    pub sshd: SshdFact,
    pub pam_files: PamFiles,
    /// Programs that PAM lines run as `stamp`, and whether each is an executable file.
    pub stamp_programs: BTreeMap<String, bool>,
    pub pins: PinFact,
    pub socket: SocketFact,
    /// Whether systemd runs the collector; looked at only if nothing listens on the socket.
    pub has_active_collector: bool,
    pub spool: Option<SpoolFact>,
    pub clock_synchronized: Option<bool>,
    /// All of `/sys/kernel/security/lockdown`.
    pub lockdown: Option<String>,
    pub selinux_enforcing: Option<bool>,
    /// Lines of the loaded AppArmor profiles.
    pub apparmor_profiles: Option<String>,
    pub break_glass: BreakGlass,
    pub directories: Vec<DirectoryFact>,
    /// `None` without `local_log`.
    pub local_log: Option<LocalLogFact>,
    pub centre: CentreFact,
    /// `None` unless `ship: jetstream`.
    pub stream: Option<StreamFact>,
}

/// Whether failed execs can be recorded at the exit of exec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExecExitFact {
    #[default]
    NotTried,
    /// A collector has attached its probes.
    Attached {
        /// How it is known that the kernel preempts itself, and so may skip them.
        preemptible_by: Option<String>,
    },
    /// They are not used, because the kernel preempts itself and could skip one; how that is known.
    Preemptible(String),
    /// The kernel has skipped a probe of a collector, which uses other probes since.
    Skipped,
    /// A trial has recorded a failed exec.
    Accepted {
        /// A collector has other probes attached.
        is_other_pinned: bool,
    },
    /// The reason why a trial recorded none.
    Refused(String),
}

/// The log daemon of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLogFact {
    pub socket: &'static str,
    pub exists: bool,
    /// Lines that it did not take since the boot.
    pub dropped: u64,
}

/// A directory of the collector, and why the collector would refuse it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFact {
    pub key: &'static str,
    pub untrusted: Option<String>,
}

/// Result of checking the centre.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CentreFact {
    #[default]
    NotAsked,
    NotConfigured,
    /// No centre is configured, and vctl-enroll.service will configure it.
    AwaitsEnrolment {
        has_file: bool,
    },
    /// The configuration of the centre is invalid.
    Wrong(String),
    Asked(Box<CentreFacts>),
}

/// The steps to reach the centre.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CentreFacts {
    pub vault_addr: String,
    pub postgres_addr: String,
    /// Vault; its version.
    pub vault: Asked,
    /// The AppRole of this host.
    pub enrolled: Asked,
    /// The version of the schema.
    pub postgres: Asked,
    /// The server with which this host's clock was compared, and the seconds by which this host is
    /// ahead.
    pub clock: Option<(&'static str, f64)>,
}

/// NATS, for a host that ships by it; its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFact {
    pub servers: String,
    pub asked: Asked,
}

/// Result of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Not tried, because an earlier step failed.
    #[default]
    No,
    /// The secret id is still wrapped.
    Waits,
    Works(String),
    Failed {
        why: String,
        hint: Option<String>,
    },
}

impl Asked {
    pub(super) fn failed(why: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Failed {
            why: why.into(),
            hint: hint.map(str::to_owned),
        }
    }
}

/// The setup of sshd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SshdFact {
    #[default]
    NotInstalled,
    /// Output of `sshd -T`.
    Effective(String),
    /// The configuration files in reading order, because `sshd -T` failed.
    Files(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SocketFact {
    #[default]
    Absent,
    /// A socket without a listener.
    Stale,
    Answers,
    /// It is not safe to use, or cannot be reached.
    Unusable(String),
}

/// The directory of the pins, and its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinFact {
    /// Why another user could change it.
    pub untrusted: Option<String>,
    /// Mode of the nearest existing directory above, if it lets other users create directories in
    /// its bpffs.
    pub open_above: Option<u32>,
    /// Links of the probe that are missing; empty if no probe is pinned.
    pub missing_links: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolFact {
    /// The spool directory, or its nearest ancestor that exists.
    pub existing: PathBuf,
    pub free_bytes: u64,
    /// Owner and mode of the spool directory itself, if it exists.
    pub owner_and_mode: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakGlass {
    #[default]
    NotConfigured,
    NoSuchGroup,
    Group {
        members: usize,
    },
}
