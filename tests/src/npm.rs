//! Packages of npm that specs use, each version with its checksum, installed once and outside of the tree.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::centre::cache;
use crate::lab::{installed, say};

/// One package with its dependencies.
pub struct Packages {
    /// Name and version, also of the folder.
    pub name: &'static str,
    pub size: &'static str,
    /// Content of `package.json`.
    pub package: &'static str,
    /// Content of `package-lock.json`.
    pub lock: &'static str,
}

/// Returns the reason why nothing can be installed.
pub fn missing() -> Option<String> {
    let missing = ["node", "npm"].into_iter().find(|tool| !installed(tool));
    missing.map(|tool| format!("`{tool}` is not installed"))
}

impl Packages {
    /// Returns the folder of the packages. Installs them once.
    pub fn install(&self) -> Result<PathBuf> {
        let directory = cache()?.join(self.name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
        // Other processes that start at the same time wait for the process that installs.
        let lock = File::create(directory.join("lock"))?;
        lock.lock()?;
        let pinned = [
            ("package.json", self.package),
            ("package-lock.json", self.lock),
        ];
        let done = directory.join("node_modules/.package-lock.json");
        let as_pinned = |(name, text): &(&str, &str)| {
            fs::read_to_string(directory.join(name)).is_ok_and(|there| there == *text)
        };
        if done.exists() && pinned.iter().all(as_pinned) {
            return Ok(directory);
        }
        say(&format!(
            "Fetching npm's {} ({}, once) into {} ...",
            self.name,
            self.size,
            directory.display()
        ));
        for (name, text) in pinned {
            fs::write(directory.join(name), text)?;
        }
        let output = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .output()
            .context("cannot run `npm`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`npm ci` ended with {}: {said}",
            output.status
        );
        if !done.exists() {
            bail!("`npm ci` installed nothing: {said}");
        }
        Ok(directory)
    }
}
