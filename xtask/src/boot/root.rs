//! The disk of a guest: a Debian of mmdebstrap, with the parts that a test needs to reach it.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{quietly, run, say};
use crate::mmdebstrap;

/// Packages beside the essential ones.
const PACKAGES: &str = "systemd,systemd-sysv,udev,dbus,libpam-systemd,openssh-server,sudo,cron,at,procps,\
    iproute2,linux-image-cloud-amd64,initramfs-tools,zstd,ca-certificates";
/// Drivers of the emulated disk.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "ext4"];
/// Time of all files of the root that Debian's packages do not set, so that a cached root is the same as a new one.
const EPOCH: &str = "1764000000";
/// Units that an emulated machine without a terminal waits for in vain.
pub(crate) const MASKED: [&str; 5] = [
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "systemd-networkd-wait-online.service",
];
/// Address of the host's loopback in a guest of QEMU.
const HOST_LOOPBACK: &str = "10.0.2.2";

/// Files of a guest that can boot.
pub(crate) struct Disk {
    pub(crate) image: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    /// Line of known_hosts without the name; `None` if the guest makes its host keys itself.
    pub(crate) host_key: Option<String>,
}

/// Returns the tarball of a Debian with more packages, made once.
pub(crate) fn debian(suite: &str, more: &str, directory: &Path) -> Result<PathBuf> {
    let name = format!("{suite}{}", more.replace(',', "-"));
    let tarball = directory.join(format!("{name}.tar"));
    if tarball.exists() {
        return Ok(tarball);
    }
    say(&format!(
        "Making the root of Debian {suite} once; this takes some minutes."
    ));
    let unfinished = directory.join(format!("{name}.unfinished.tar"));
    let mut make = mmdebstrap::small_root(&format!("{PACKAGES}{more}"));
    make.env("SOURCE_DATE_EPOCH", EPOCH)
        .arg(mmdebstrap::initial_modules("vctl", &MODULES))
        .arg(suite)
        .arg(&unfinished)
        .arg(mmdebstrap::MIRROR);
    run(&mut make)?;
    fs::rename(&unfinished, &tarball)?;
    Ok(tarball)
}

/// Writes the disk of a host: with a network, a key for root, a relay to the ports of the centre, `more` texts, and
/// copies of files.
pub(crate) fn disk(
    tarball: &Path,
    work: &Path,
    key: &Path,
    ports: &[u16],
    more: &[(&str, &str)],
    copies: &[(&str, &Path)],
) -> Result<Disk> {
    let root = work.join("root");
    fs::create_dir_all(&root)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(tarball).arg("-C").arg(&root);
    run(unpack.arg("--numeric-owner"))?;
    let host_key = prepare(&root, key, ports)?;
    for (path, text) in more {
        if let Some(parent) = root.join(path).parent() {
            fs::create_dir_all(parent)?;
        }
        write(&root, path, text)?;
    }
    for (path, file) in copies {
        fs::copy(file, root.join(path))?;
    }
    let copied = |name: &str| -> Result<PathBuf> {
        let to = work.join(name);
        fs::copy(boot_file(&root, name)?, &to)?;
        Ok(to)
    };
    let (kernel, initrd) = (copied("vmlinuz")?, copied("initrd.img")?);
    let image = work.join("disk.ext4");
    // A sparse file; the spool alone may take 1 GiB.
    File::create(&image)?.set_len(3 << 30)?;
    run(Command::new("mkfs.ext4")
        .args(["-q", "-d"])
        .arg(&root)
        .arg(&image))?;
    fs::remove_dir_all(&root)?;
    Ok(Disk {
        image,
        kernel,
        initrd,
        host_key: Some(host_key),
    })
}

/// Returns the only file `/boot/NAME-*`.
pub(crate) fn boot_file(root: &Path, name: &str) -> Result<PathBuf> {
    let begin = format!("{name}-");
    let files = fs::read_dir(root.join("boot")).context("the root has no /boot")?;
    let mut found = files.flatten().map(|file| file.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(&begin)
    });
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => bail!("the root has no kernel: no `/boot/{begin}*`"),
        (Some(_), Some(_)) => {
            bail!("the root has several kernels with a `/boot/{begin}*`; use one")
        }
    }
}

/// Makes a host of the root, and returns its host key.
fn prepare(root: &Path, key: &Path, ports: &[u16]) -> Result<String> {
    write(root, "etc/hostname", "web-1\n")?;
    write(root, "etc/hosts", "127.0.0.1 localhost web-1\n")?;
    let network = "[Match]\nType=ether\n[Network]\nDHCP=yes\n";
    write(root, "etc/systemd/network/80-guest.network", network)?;
    fs::create_dir_all(root.join("root/.ssh"))?;
    let public = fs::read_to_string(key.with_extension("pub"))?;
    write(root, "root/.ssh/authorized_keys", &public)?;
    fs::set_permissions(root.join("root/.ssh"), Permissions::from_mode(0o700))?;
    for unit in MASKED {
        symlink("/dev/null", root.join("etc/systemd/system").join(unit))?;
    }
    // The test of the purge looks for files of this name.
    let modules = root.join("etc/initramfs-tools/conf.d");
    fs::rename(modules.join("vctl"), modules.join("guest"))?;
    let mut enabled = vec!["systemd-networkd.service".to_owned()];
    for port in ports {
        for (unit, text) in relay(*port) {
            write(root, &format!("etc/systemd/system/{unit}"), &text)?;
        }
        enabled.push(format!("centre-{port}.socket"));
    }
    let mut enable = Command::new("systemctl");
    enable.arg(format!("--root={}", root.display()));
    quietly(enable.arg("enable").args(&enabled))?;
    host_key(root)
}

/// Returns the units that forward a port of the centre: its addresses are those of the host's loopback, and the guest
/// has them as its own.
pub(crate) fn relay(port: u16) -> [(String, String); 2] {
    let socket =
        format!("[Socket]\nListenStream=127.0.0.1:{port}\n[Install]\nWantedBy=sockets.target\n");
    let proxy = "/usr/lib/systemd/systemd-socket-proxyd";
    let service = format!("[Service]\nExecStart={proxy} {HOST_LOOPBACK}:{port}\n");
    [
        (format!("centre-{port}.socket"), socket),
        (format!("centre-{port}.service"), service),
    ]
}

/// Replaces the host keys of the cached root by a new one.
fn host_key(root: &Path) -> Result<String> {
    let ssh = root.join("etc/ssh");
    for file in fs::read_dir(&ssh)?.flatten() {
        if file.file_name().to_string_lossy().starts_with("ssh_host_") {
            fs::remove_file(file.path())?;
        }
    }
    let key = ssh.join("ssh_host_ed25519_key");
    new_key(&key)?;
    Ok(fs::read_to_string(key.with_extension("pub"))?
        .trim()
        .to_owned())
}

pub(crate) fn new_key(path: &Path) -> Result<()> {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "guest", "-f"]);
    run(keygen.arg(path))
}

fn write(root: &Path, path: &str, text: &str) -> Result<()> {
    let path = root.join(path);
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    Ok(file.write_all(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_exactly_one_kernel() {
        let root = tempfile::tempdir().unwrap();
        let boot = root.path().join("boot");
        fs::create_dir(&boot).unwrap();
        assert!(boot_file(root.path(), "vmlinuz").is_err());
        fs::write(boot.join("vmlinuz-6.1.0"), "").unwrap();
        fs::write(boot.join("vmlinuz.old"), "").unwrap();
        assert_eq!(
            boot_file(root.path(), "vmlinuz").unwrap(),
            boot.join("vmlinuz-6.1.0")
        );
        fs::write(boot.join("vmlinuz-6.12.0"), "").unwrap();
        assert!(boot_file(root.path(), "vmlinuz").is_err());
    }
}
