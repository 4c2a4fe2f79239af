//! The kernels of a root, and what the probe needs of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Options of the kernel's configuration, and what they are.
const NEEDED: [(&str, &str); 2] = [
    ("CONFIG_DEBUG_INFO_BTF=y", "BTF"),
    ("CONFIG_BPF_SYSCALL=y", "BPF"),
];

/// Returns the only file `/boot/NAME-*`.
pub(super) fn boot_file(root: &Path, name: &str) -> Result<PathBuf> {
    let mut found = boot_files(root, name)?;
    ensure!(
        found.len() == 1,
        "the root has {} kernels with a `/boot/{name}-*`; an image has one",
        found.len()
    );
    found.pop().context("a list of one")
}

fn boot_files(root: &Path, name: &str) -> Result<Vec<PathBuf>> {
    let begin = format!("{name}-");
    let files = fs::read_dir(root.join("boot")).context("the root has no /boot")?;
    let paths = files.flatten().map(|file| file.path());
    Ok(paths
        .filter(|path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(&begin)
        })
        .collect())
}

/// Refuses a kernel in which the probe cannot run: the host would accept logins and record none of them.
pub(super) fn check(root: &Path) -> Result<()> {
    let path = boot_file(root, "config")?;
    let text = fs::read_to_string(&path)?;
    for (option, what) in NEEDED {
        ensure!(
            text.lines().any(|line| line == option),
            "the kernel of the image has no {what}, so it could record no session: `/boot/{}` lacks `{option}`; \
             docs/kernels.md lists tested kernels",
            path.file_name().unwrap_or_default().to_string_lossy()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_btf_is_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("boot")).unwrap();
        let config = root.path().join("boot/config-6.1.0");
        fs::write(&config, "CONFIG_BPF_SYSCALL=y\nCONFIG_DEBUG_INFO_BTF=y\n").unwrap();
        check(root.path()).unwrap();
        let without = "CONFIG_BPF_SYSCALL=y\n# CONFIG_DEBUG_INFO_BTF is not set\n";
        fs::write(&config, without).unwrap();
        let refused = check(root.path()).unwrap_err().to_string();
        assert!(refused.contains("has no BTF"), "{refused}");
    }
}
