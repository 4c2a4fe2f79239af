//! The secrets server's program: the one that a variable names, the one on PATH, or a pinned OpenBao, fetched once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::download::OPENBAO;

/// Variable with the path of a program of OpenBao or Vault. With both on PATH, a run without it uses `bao`.
const PROGRAM: &str = "VCTL_TEST_VAULT_BIN";

/// A program that is OpenBao or Vault.
#[derive(Clone, Debug)]
pub struct Binary {
    pub path: PathBuf,
    pub is_openbao: bool,
    /// Name that the program prints with its version.
    pub version: String,
}

impl Binary {
    /// Finds the program, and fetches it when it is not installed.
    ///
    /// # Errors
    /// When the program cannot be fetched, has a wrong checksum, or does not run.
    pub fn find() -> Result<Self> {
        let path = match chosen() {
            Some(path) => path,
            None => OPENBAO.get()?,
        };
        Self::at(&path)
    }

    fn at(path: &Path) -> Result<Self> {
        // The name in /proc. The cleanup finds the process by this name.
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot find `{}`", path.display()))?;
        let output = Command::new(&path)
            .arg("version")
            .output()
            .with_context(|| format!("cannot run `{}`", path.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Self {
            is_openbao: version.starts_with("OpenBao"),
            path,
            version,
        })
    }
}

/// Returns the reason when a server is neither installed nor can be fetched.
pub(super) fn missing() -> Option<String> {
    if chosen().is_some() {
        return None;
    }
    OPENBAO.missing()
}

/// Returns the program of the variable or on PATH.
fn chosen() -> Option<PathBuf> {
    let named = std::env::var_os(PROGRAM).filter(|value| !value.is_empty());
    let named = named.map(PathBuf::from);
    named.or_else(|| on_path("bao").or_else(|| on_path("vault")))
}

pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
