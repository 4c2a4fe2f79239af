//! Adds to the root of a Debian what makes it record: the package, the settings and the SSH CA.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::trust::Authority;
use super::{in_root, kernel, overlay, package, trust};
use crate::command::quietly;

/// Files of the image that Debian does not have, and their sources.
const FILES: [(&str, &str); 3] = [
    (
        "etc/systemd/network/80-dhcp.network",
        include_str!("../../../deploy/host-image/80-dhcp.network"),
    ),
    (
        "etc/systemd/system/ssh-host-keys.service",
        include_str!("../../../deploy/host-image/ssh-host-keys.service"),
    ),
    // The name is that of the disk's file system, which then grows to the size of the disk.
    ("etc/fstab", "LABEL=root / ext4 rw,x-systemd.growfs 0 1\n"),
];
/// The units of `vctl-agent setup`, and those of an image alone.
const ENABLED: [&str; 4] = [
    "vctl-collect.service",
    "systemd-networkd.service",
    "ssh-host-keys.service",
    "vctl-enroll.path",
];

/// What an image is made of, beside Debian.
pub(super) struct Inputs {
    pub(super) package: PathBuf,
    pub(super) authorities: Vec<Authority>,
    pub(super) vault_ca: Option<PathBuf>,
    pub(super) db_ca: Option<PathBuf>,
    pub(super) overlay: Option<PathBuf>,
    pub(super) is_strict: bool,
    pub(super) allows_authorized_keys: bool,
}

impl Inputs {
    /// Returns the CA certificates and their names in the image.
    fn certificates(&self) -> impl Iterator<Item = (&Path, &'static str)> {
        let named = [(&self.vault_ca, "vault-ca.pem"), (&self.db_ca, "db-ca.pem")];
        named
            .into_iter()
            .filter_map(|(path, name)| Some((path.as_deref()?, name)))
    }

    /// Refuses inputs that cannot become an image, before the minutes that Debian takes.
    pub(super) fn check(&self) -> Result<()> {
        package::check(&self.package)?;
        for (path, _) in self.certificates() {
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
            ensure!(
                text.contains("-----BEGIN CERTIFICATE-----"),
                "`{}` is not a certificate in PEM",
                path.display()
            );
            ensure!(
                !text.contains("PRIVATE KEY-----"),
                "`{}` also has a private key; give the certificate alone",
                path.display()
            );
        }
        if let Some(overlay) = &self.overlay {
            overlay::check(overlay, self.allows_authorized_keys)?;
        }
        Ok(())
    }
}

pub(super) fn run(inputs: &Inputs, epoch: u64, root: &Path) -> Result<()> {
    for (path, text) in FILES {
        write(root, path, text)?;
    }
    let settings = root.join("etc/vctl");
    fs::create_dir(&settings)?;
    fs::set_permissions(&settings, Permissions::from_mode(0o700))?;
    for (certificate, name) in inputs.certificates() {
        let text = fs::read_to_string(certificate)?;
        write(root, &format!("etc/vctl/{name}"), &text)?;
    }
    if let Some(overlay) = &inputs.overlay {
        overlay::copy(overlay, root).context("cannot copy the overlay")?;
    }
    kernel::check(root)?;
    package::install(&inputs.package, epoch, root)?;
    // The agent of the image tests the sshd and the PAM files of the image, and refuses them before any change.
    let mut setup = Command::new(root.join("usr/sbin/vctl-agent"));
    setup.args(["setup", "--yes", "--root"]).arg(root);
    if inputs.is_strict {
        setup.arg("--strict");
    }
    quietly(&mut setup).context("`vctl-agent setup` refused the image")?;
    trust::install(&inputs.authorities, root)?;
    // The systemctl of this machine may write other links than that of the image.
    quietly(in_root(root, "systemctl").arg("reenable").args(ENABLED)).map(drop)
}

fn write(root: &Path, path: &str, text: &str) -> Result<()> {
    let path = root.join(path);
    let parent = path.parent().context("a file has a directory")?;
    fs::create_dir_all(parent)?;
    fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(fs::set_permissions(&path, Permissions::from_mode(0o644))?)
}
