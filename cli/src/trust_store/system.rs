//! The trust store of this operating system, or of an image.

use std::path::{Path, PathBuf};

/// Prefix of the names of files that vctl adds.
pub(super) const PREFIX: &str = "vctl-ca-";

/// The trust store for CAs that an administrator adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// A directory of files, and a program that builds the store from them.
    Files {
        /// `/`, or the root directory of an image.
        root: PathBuf,
        family: Family,
    },
    /// The login keychain of macOS.
    Keychain { home: PathBuf },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Debian, Ubuntu, Alpine.
    Debian,
    /// RHEL, Rocky, Fedora, Amazon Linux.
    RedHat,
}

impl Family {
    const ALL: [Self; 2] = [Self::Debian, Self::RedHat];

    /// Directory of added CAs, relative to the root.
    pub(super) fn anchors(self) -> &'static str {
        match self {
            Self::Debian => "usr/local/share/ca-certificates",
            Self::RedHat => "etc/pki/ca-trust/source/anchors",
        }
    }

    /// Required file extension.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Debian => "crt",
            Self::RedHat => "pem",
        }
    }

    /// Command that builds the store from the files.
    pub(super) fn update(self) -> &'static [&'static str] {
        match self {
            Self::Debian => &["update-ca-certificates"],
            Self::RedHat => &["update-ca-trust", "extract"],
        }
    }

    /// A directory that only systems of this family have. The program is no proof: other systems have programs
    /// of the same name that read other directories.
    fn sign(self) -> &'static str {
        match self {
            Self::Debian => "etc/ca-certificates.conf",
            Self::RedHat => "etc/pki/ca-trust/source/anchors",
        }
    }
}

impl System {
    /// Returns the trust store of the system at `root`, if vctl supports it.
    pub(crate) fn find(root: &Path) -> Option<Self> {
        if cfg!(target_os = "macos") && root == Path::new("/") {
            let home = std::env::home_dir()?;
            return Some(Self::Keychain { home });
        }
        let here = |family: &Family| root.join(family.sign()).exists();
        Family::ALL
            .into_iter()
            .find(here)
            .map(|family| Self::Files {
                root: root.to_owned(),
                family,
            })
    }

    /// Returns whether only root can change the trust store.
    pub(crate) fn is_for_root(&self) -> bool {
        matches!(self, Self::Files { .. })
    }

    /// Returns all files that vctl added.
    pub(crate) fn added(&self) -> Vec<PathBuf> {
        let Self::Files { root, family } = self else {
            return Vec::new();
        };
        let entries = std::fs::read_dir(root.join(family.anchors()));
        let mut added: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with(PREFIX))
                    && path.extension().is_some_and(|e| e == family.extension())
            })
            .collect();
        added.sort();
        added
    }
}
