//! Facts about a host, read from below a given root.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use uuid::Uuid;
use vctl_common::id::BootId;

use super::address;
use super::parse::{self, Usage};
use crate::machine_id;
use crate::proc;

/// Files of `/proc` are short. Any other file must not fill the memory.
const FILE_MAX: u64 = 64 * 1024;

/// Facts at one moment. A fact that cannot be read is `None`; the others are still reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) machine_id: Option<Uuid>,
    pub(super) boot_id: Option<BootId>,
    pub(super) os: Option<String>,
    pub(super) kernel: Option<String>,
    pub(super) arch: Option<String>,
    pub(super) uptime_s: Option<u64>,
    pub(super) load: Option<[f32; 3]>,
    pub(super) memory: Option<Usage>,
    pub(super) disk: Option<Usage>,
    pub(super) addresses: Vec<IpAddr>,
}

/// Reads the host whose files are below `root`; the addresses are those of this network name space.
pub(super) fn collect(root: &Path) -> Facts {
    let read = |name: &str| read(&root.join(name));
    let os_release = read("etc/os-release").or_else(|| read("usr/lib/os-release"));
    Facts {
        machine_id: machine_id::read(root),
        boot_id: proc::host::boot_id(&root.join("proc")).ok(),
        os: os_release.and_then(|text| parse::os_name(&text)),
        kernel: read("proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
        arch: nix::sys::utsname::uname()
            .ok()
            .map(|name| name.machine().to_string_lossy().into_owned()),
        uptime_s: read("proc/uptime").and_then(|text| parse::uptime_s(&text)),
        load: read("proc/loadavg").and_then(|text| parse::load(&text)),
        memory: read("proc/meminfo").and_then(|text| parse::memory(&text)),
        disk: disk(root),
        addresses: address::of_this_host(),
    }
}

fn read(path: &PathBuf) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(FILE_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    // One invalid byte in os-release must not suppress the report.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[allow(
    clippy::useless_conversion,
    reason = "the width of these types is the C library's to choose"
)]
fn disk(root: &Path) -> Option<Usage> {
    let found = statvfs(root).ok()?;
    parse::disk(
        found.fragment_size().into(),
        found.blocks().into(),
        found.blocks_free().into(),
        found.blocks_available().into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_host_is_read_from_below_its_root() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8]| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/loadavg", b"1.50 0.25 0.10 1/2 3\n");
        put("proc/meminfo", b"MemTotal: 4 kB\nMemAvailable: 1 kB\n");
        put("proc/uptime", b"61.9 12.0\n");
        put("proc/sys/kernel/osrelease", b"6.12.0\n");
        put("usr/lib/os-release", b"PRETTY_NAME=\"Caf\xe9 OS\"\n");
        put(
            "proc/sys/kernel/random/boot_id",
            b"0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90\n",
        );
        let facts = collect(root.path());
        assert_eq!(facts.load, Some([1.5, 0.25, 0.1]));
        assert!((facts.memory.unwrap().used_percent - 75.0).abs() < 0.01);
        assert_eq!(facts.uptime_s, Some(61));
        assert_eq!(facts.kernel.as_deref(), Some("6.12.0"));
        assert_eq!(facts.os.as_deref(), Some("Caf\u{fffd} OS"));
        assert!(facts.boot_id.is_some() && facts.disk.is_some() && facts.arch.is_some());
        assert_eq!(facts.machine_id, None);
    }

    #[test]
    fn a_host_without_any_of_it_still_has_facts() {
        let root = tempfile::tempdir().unwrap();
        let facts = collect(root.path());
        assert_eq!((facts.load, facts.os, facts.boot_id), (None, None, None));
    }
}
