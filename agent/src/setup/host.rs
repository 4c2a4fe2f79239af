//! The host that is set up: its root directory, and a lock against a second setup.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vctl_common::file_lock::{self, Tried};

use super::error::SetupError;
use crate::config::{self, Config, ConfigError, DEFAULT_FILE};
use crate::pam;
use crate::proc::host::host_name;

/// Contains the journal and the copies of replaced files.
pub(super) const JOURNAL: &str = "/var/lib/vctl/setup";

/// An attempt of vctl-enroll.service takes 11 s if Vault opens no secret id.
const LOCK_WAIT: Duration = Duration::from_mins(1);

/// Directories below which setup reads and writes without a look at each link.
const DIRECTORIES: [&str; 5] = [
    "/etc/pam.d",
    "/etc/ssh",
    "/etc/systemd/system",
    "/etc/vctl",
    JOURNAL,
];

#[derive(Debug)]
pub(super) struct Host {
    root: PathBuf,
    /// Held until the setup ends. A directory that exists on every host, so the lock changes no byte.
    _lock: File,
}

impl Host {
    /// Waits for another setup that holds the lock: at most [`LOCK_WAIT`].
    ///
    /// # Errors
    /// `Busy` after that time.
    pub(super) fn lock(root: &Path, tell: impl FnOnce(&str)) -> Result<Self, SetupError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(SetupError::NotRoot);
        }
        let no_root = |source: io::Error| SetupError::NoRoot {
            path: root.to_owned(),
            source,
        };
        let root = fs::canonicalize(root).map_err(no_root)?;
        for directory in DIRECTORIES {
            pam::inside(&root, directory)?;
        }
        let lock = File::open(root.join("etc")).map_err(no_root)?;
        let end = Instant::now() + LOCK_WAIT;
        let mut tell = Some(tell);
        while file_lock::try_exclusive(&lock).map_err(no_root)? == Tried::Busy {
            if Instant::now() >= end {
                return Err(SetupError::Busy);
            }
            if let Some(tell) = tell.take() {
                tell("Another `vctl-agent setup` runs: waiting until it ends.\n");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(Self { root, _lock: lock })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns whether a loaded probe is that of this host. In a chroot it is that of the machine that builds an image.
    pub(super) fn owns_probe(&self) -> bool {
        let roots = fs::metadata("/").and_then(|own| Ok((own, fs::metadata("/proc/1/root")?)));
        let is_first_root = match roots {
            Ok((own, first)) => (own.dev(), own.ino()) == (first.dev(), first.ino()),
            // Some containers may not look at the root of pid 1.
            Err(_) => self.at("/run/systemd/system").is_dir(),
        };
        self.is_this_machine() && is_first_root
    }

    /// Returns whether the host is the running machine, and not the tree of an image.
    pub(super) fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Returns where a path of the host is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Returns where the content of a path of the host is: a link stays a link.
    ///
    /// # Errors
    /// A link of an image leads to a file of this machine.
    pub(super) fn real(&self, path: &str) -> Result<PathBuf, SetupError> {
        Ok(pam::inside(&self.root, path)?)
    }

    /// Returns where a path of the host itself is: a link at its end is not followed, so it can be removed or replaced.
    ///
    /// # Errors
    /// The directory of the path leaves the image.
    pub(super) fn entry(&self, path: &str) -> Result<PathBuf, SetupError> {
        let (directory, name) = path.rsplit_once('/').unwrap_or_default();
        Ok(self.real(directory)?.join(name))
    }

    /// Returns the configuration of the agent on the host.
    pub(super) fn config(&self) -> Result<Config, SetupError> {
        let file = self.at(DEFAULT_FILE);
        self.config_in(&file).map_err(|source| SetupError::Config {
            path: file.display().to_string(),
            source,
        })
    }

    /// Returns the configuration in a file, without that of this process's environment.
    pub(super) fn config_in(&self, file: &Path) -> Result<Config, ConfigError> {
        let name = if self.is_this_machine() {
            host_name()
        } else {
            fs::read_to_string(self.at("/etc/hostname")).unwrap_or_default()
        };
        if !file.exists() {
            return Ok(Config::default());
        }
        let loaded = config::load(&config::Inputs {
            flags: &[],
            env: &|_| None,
            file: Some(file),
            host_name: name.trim(),
        })?;
        Ok(loaded.config)
    }
}
