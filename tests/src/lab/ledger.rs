//! The truth that a recording is held against: what the load itself says that it did.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A file to which each process of a load appends `nonce count`, whoever it runs as.
///
/// From a shell: `echo "$nonce $count" >> ledger`. Lines are short, so appends do not mix.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    pub fn create(path: &Path) -> Result<Self> {
        File::create(path)?.set_permissions(fs::Permissions::from_mode(0o666))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the sum of the counts of each nonce.
    pub fn read(&self) -> Result<BTreeMap<String, u64>> {
        let mut sums = BTreeMap::new();
        for line in fs::read_to_string(&self.path)?.lines() {
            let (nonce, count) = line.split_once(' ').with_context(|| format!("`{line}`"))?;
            *sums.entry(nonce.to_owned()).or_default() += count.trim().parse::<u64>()?;
        }
        Ok(sums)
    }
}
