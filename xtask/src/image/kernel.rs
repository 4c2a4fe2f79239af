//! The kernels of a root, and what the probe needs of them.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::boot::root::boot_file;

/// Options of the kernel's configuration, and what they are.
const NEEDED: [(&str, &str); 2] = [
    ("CONFIG_DEBUG_INFO_BTF=y", "BTF"),
    ("CONFIG_BPF_SYSCALL=y", "BPF"),
];

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
