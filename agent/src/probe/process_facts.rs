//! Facts about a process from /proc, with which the self-test compares.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use vctl_common::wire;

use crate::proc::files;
use crate::proc::reader::ProcReader;
use crate::proc::stat::{Stat, parse_stat, tty};

/// Facts about one process.
pub(super) struct Facts {
    pub(super) stat: Stat,
    pub(super) tty: u32,
    pub(super) uids: [u32; 2],
    pub(super) gids: [u32; 2],
    pub(super) login_uid: u32,
    pub(super) audit_session: u32,
    pub(super) exe: PathBuf,
    pub(super) exe_places: Vec<(u32, u32, u64)>,
    pub(super) exe_links: u64,
    pub(super) cwd: PathBuf,
    pub(super) mount_ns: u64,
    pub(super) pid_ns: u64,
    pub(super) cmdline: Vec<u8>,
    pub(super) comm: Vec<u8>,
    pub(super) cgroup: Option<u64>,
}

impl Facts {
    pub(super) fn read(tgid: u32) -> io::Result<Self> {
        let dir = PathBuf::from(format!("/proc/{tgid}"));
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let number = |file: &str| -> io::Result<u32> {
            fs::read_to_string(dir.join(file))?
                .trim()
                .parse()
                .map_err(|_| invalid())
        };
        let stat = fs::read(dir.join("stat"))?;
        let status = fs::read(dir.join("status"))?;
        let exe = fs::read_link(dir.join("exe"))?;
        let meta = fs::metadata(dir.join("exe"))?;
        let places = [(
            u32::try_from(nix::sys::stat::major(meta.dev())).unwrap_or(u32::MAX),
            u32::try_from(nix::sys::stat::minor(meta.dev())).unwrap_or(u32::MAX),
            meta.ino(),
        )];
        // On layered file systems, stat(2) and the kernel return different inodes; maps has the
        // kernel's.
        let maps = fs::read(dir.join("maps"))?;
        let exe_places = places
            .into_iter()
            .chain(files::mapped_file(&maps, exe.as_os_str().as_bytes()));
        Ok(Self {
            stat: parse_stat(&stat).ok_or_else(invalid)?,
            tty: tty(&stat).ok_or_else(invalid)?,
            uids: files::status_ids(&status, b"Uid:").ok_or_else(invalid)?,
            gids: files::status_ids(&status, b"Gid:").ok_or_else(invalid)?,
            // Kernels without audit have neither file, and the fields are not set.
            login_uid: number("loginuid").unwrap_or(wire::UNSET),
            audit_session: number("sessionid").unwrap_or(wire::UNSET),
            exe_places: exe_places.collect(),
            exe_links: meta.nlink(),
            exe,
            cwd: fs::read_link(dir.join("cwd"))?,
            mount_ns: fs::metadata(dir.join("ns/mnt"))?.ino(),
            pid_ns: fs::metadata(dir.join("ns/pid"))?.ino(),
            cmdline: fs::read(dir.join("cmdline"))?,
            comm: fs::read(dir.join("comm"))?,
            cgroup: ProcReader::host().cgroup(tgid).map(|cgroup| cgroup.0),
        })
    }
}
