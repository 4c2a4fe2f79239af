//! The root of a Debian, made by mmdebstrap.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::command::run;
use crate::mmdebstrap;

pub(super) const ARCHIVE: &str = mmdebstrap::MIRROR;
pub(super) const SECURITY: &str = "http://deb.debian.org/debian-security";

/// Packages beside the essential ones.
const PACKAGES: &str = "systemd,systemd-sysv,systemd-resolved,systemd-timesyncd,udev,dbus,libpam-systemd,\
    openssh-server,sudo,procps,iproute2,e2fsprogs,linux-image-cloud-amd64,initramfs-tools,zstd,ca-certificates";
/// Drivers of the disks of usual hypervisors and clouds.
const MODULES: [&str; 6] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "nvme",
    "ext4",
];

/// State of an archive, and the packages to take from it.
pub(super) struct Archive {
    pub(super) suite: String,
    pub(super) mirror: String,
    pub(super) security_mirror: String,
    /// Packages beside ours.
    pub(super) include: Vec<String>,
    /// Time of all files that the packages of Debian do not set.
    pub(super) epoch: u64,
}

/// Makes the root in a new directory.
pub(super) fn make(archive: &Archive, root: &Path) -> Result<()> {
    let suite = &archive.suite;
    let included = [PACKAGES.to_owned()].into_iter();
    let included: Vec<String> = included.chain(archive.include.iter().cloned()).collect();
    let mut make = mmdebstrap::small_root(&included.join(","));
    make.env("SOURCE_DATE_EPOCH", archive.epoch.to_string())
        .env("LC_ALL", "C.UTF-8")
        .arg("--format=directory")
        .arg("--dpkgopt=path-include=/usr/share/doc/*/copyright")
        .arg(mmdebstrap::initial_modules("image", &MODULES));
    if archive.mirror != ARCHIVE || archive.security_mirror != SECURITY {
        // The index of a snapshot has expired.
        make.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    }
    make.arg(suite).arg(root);
    for (url, part) in [
        (&archive.mirror, String::new()),
        (&archive.mirror, "-updates".to_owned()),
        (&archive.security_mirror, "-security".to_owned()),
    ] {
        make.arg(format!("deb {url} {suite}{part} main"));
    }
    run(&mut make).with_context(|| {
        format!("cannot make the root of Debian {suite}; the lines above have the reason")
    })
}
