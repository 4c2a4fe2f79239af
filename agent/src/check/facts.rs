//! What a host looks like, as far as the agent cares; no opinion yet.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::pam::PamFiles;

/// Facts of one host. `None` and absent entries are "could not be read".
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    pub is_root: bool,
    /// `uname -r`.
    pub kernel: Option<String>,
    /// Whether the kernel makes a ring buffer map for us; the error's text otherwise.
    pub bpf: Option<Result<(), String>>,
    /// Typed tracepoints that the kernel's BTF knows, of those asked for; `None` without BTF.
    pub btf_tracepoints: Option<Vec<&'static str>>,
    /// All of `/proc/self/mountinfo`.
    pub mountinfo: String,
    /// The tracepoint of execve's result is in tracefs.
    pub has_exec_tracepoint: bool,
    /// `/proc/self/loginuid` and `sessionid` are there: the kernel counts audit sessions.
    pub has_audit_ids: bool,
    pub sshd: SshdFact,
    pub pam_files: PamFiles,
    /// Each program that a PAM line runs as `stamp`, and whether it is an executable file.
    pub stamp_programs: BTreeMap<String, bool>,
    pub pins: PinFact,
    pub socket: SocketFact,
    pub spool: Option<SpoolFact>,
    pub clock_synchronized: Option<bool>,
    /// All of `/sys/kernel/security/lockdown`.
    pub lockdown: Option<String>,
    pub selinux_enforcing: Option<bool>,
    /// Lines of the loaded AppArmor profiles.
    pub apparmor_profiles: Option<String>,
    pub break_glass: BreakGlass,
    pub directories: Vec<DirectoryFact>,
    pub centre: CentreFact,
}

/// A directory that the collector uses, and why it would not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryFact {
    pub key: &'static str,
    pub untrusted: Option<String>,
}

/// What came of looking at the centre.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CentreFact {
    #[default]
    NotAsked,
    NotConfigured,
    /// The configuration names no centre that there could be.
    Wrong(String),
    Asked(Box<CentreFacts>),
}

/// The steps of the way to the centre.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CentreFacts {
    pub vault_addr: String,
    pub postgres_addr: String,
    /// Its version.
    pub vault: Asked,
    /// The AppRole of this host.
    pub enrolled: Asked,
    /// The version of the schema.
    pub postgres: Asked,
    /// Which server's clock was read, and by how many seconds this host's is ahead of it.
    pub clock: Option<(&'static str, f64)>,
}

/// What one step said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// A step before it failed.
    #[default]
    No,
    /// The secret id is wrapped still.
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

/// How sshd is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SshdFact {
    #[default]
    NotInstalled,
    /// What `sshd -T` prints.
    Effective(String),
    /// `sshd -T` did not answer; the configuration files in the order they are read.
    Files(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SocketFact {
    #[default]
    Absent,
    /// A socket that nobody listens on.
    Stale,
    Answers,
    /// It is not safe to talk to, or cannot be reached.
    Unusable(String),
}

/// The directory of the pins, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinFact {
    /// Why another user could change it.
    pub untrusted: Option<String>,
    /// Others may make directories in its bpffs: the mode of the nearest one above that exists.
    pub open_above: Option<u32>,
    /// Links that a probe without them does not have; empty where no probe is pinned.
    pub missing_links: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolFact {
    /// The spool directory, or its nearest ancestor that exists.
    pub existing: PathBuf,
    pub free_bytes: u64,
    /// Of the spool directory itself, once it exists.
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
