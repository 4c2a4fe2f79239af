//! Facts that a program reports about itself. Specs compare recordings with them.
//!
//! The programs that the specs run inside sessions write one JSON line per exec to the file in `VCTL_TRUTH`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::linux::fs::MetadataExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Variable with the path of the file.
pub const FILE: &str = "VCTL_TRUTH";
/// Variable with the name of the case that a program runs for.
pub const CASE: &str = "VCTL_CASE";

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Truth {
    Running(Box<Running>),
    /// An exec that failed.
    Failed {
        case: String,
        pid: u32,
        start: u64,
        filename: Vec<u8>,
        argv: Vec<Vec<u8>>,
        errno: i32,
    },
    /// End of a child, as wait(2) reported it to the parent.
    Ended {
        case: String,
        pid: u32,
        start: u64,
        status: i32,
    },
}

/// A process after its exec, in its own view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub case: String,
    /// Pid in the namespace of /proc, which is the host's.
    pub pid: u32,
    pub ppid: u32,
    /// Clock ticks after boot.
    pub start: u64,
    pub argv: Vec<Vec<u8>>,
    /// Path as /proc shows it. ` (deleted)` may follow it.
    pub cwd: Vec<u8>,
    pub exe: Vec<u8>,
    pub exe_major: u32,
    pub exe_minor: u32,
    pub exe_inode: u64,
    pub exe_links: u64,
    pub ruid: u32,
    pub euid: u32,
    pub rgid: u32,
    pub egid: u32,
    pub login_uid: u32,
    pub audit_session: u32,
    /// Terminal as in field 7 of /proc/self/stat. 0 without a terminal.
    pub tty: u32,
    pub mount_ns: u32,
    pub pid_ns: u32,
}

impl Running {
    /// Reads the facts about this process from the kernel.
    pub fn now() -> Result<Self> {
        // The comm in it may contain any bytes.
        let stat = fs::read("/proc/self/stat")?;
        let stat = String::from_utf8_lossy(&stat);
        let fields = fields_after_comm(&stat).context("a short /proc/self/stat")?;
        let number = |field: usize| -> Result<u64> {
            let text = fields.get(field - 3).context("a short /proc/self/stat")?;
            Ok(text.parse::<i64>()?.cast_unsigned())
        };
        let exe = fs::metadata("/proc/self/exe")?;
        let (ruid, euid) = (nix::unistd::getuid(), nix::unistd::geteuid());
        let (rgid, egid) = (nix::unistd::getgid(), nix::unistd::getegid());
        Ok(Self {
            case: std::env::var(CASE).unwrap_or_default(),
            // Read through /proc, because a process in a pid namespace has another number there.
            pid: fs::read_link("/proc/self")?.to_string_lossy().parse()?,
            ppid: u32::try_from(number(4)?)?,
            start: number(22)?,
            argv: std::env::args_os().map(OsStringExt::into_vec).collect(),
            cwd: link("/proc/self/cwd")?,
            exe: link("/proc/self/exe")?,
            exe_major: u32::try_from(nix::sys::stat::major(exe.st_dev()))?,
            exe_minor: u32::try_from(nix::sys::stat::minor(exe.st_dev()))?,
            exe_inode: exe.st_ino(),
            exe_links: exe.st_nlink(),
            ruid: ruid.as_raw(),
            euid: euid.as_raw(),
            rgid: rgid.as_raw(),
            egid: egid.as_raw(),
            login_uid: fs::read_to_string("/proc/self/loginuid")?.trim().parse()?,
            audit_session: fs::read_to_string("/proc/self/sessionid")?.trim().parse()?,
            tty: u32::try_from(number(7)?)?,
            mount_ns: namespace("/proc/self/ns/mnt")?,
            pid_ns: namespace("/proc/self/ns/pid")?,
        })
    }
}

/// Adds a line to the file. Does nothing without a file.
pub fn tell(truth: &Truth) -> Result<()> {
    let Some(path) = std::env::var_os(FILE) else {
        return Ok(());
    };
    let mut line = serde_json::to_vec(truth)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().append(true).open(&path)?;
    // One write per line, because lines of several processes must not mix.
    file.write_all(&line)?;
    Ok(())
}

/// Reads all lines of the file.
pub fn read(path: &Path) -> Result<Vec<Truth>> {
    let text = fs::read_to_string(path)?;
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    lines.collect()
}

/// Returns the start of a process in clock ticks after boot. This also works for a zombie.
pub fn start_of(pid: u32) -> Result<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    let stat = String::from_utf8_lossy(&stat);
    let fields = fields_after_comm(&stat).context("a short stat")?;
    Ok(fields.get(22 - 3).context("a short stat")?.parse()?)
}

/// The comm in field 2 may hold blanks and `)`, so fields are counted from the last `)`.
fn fields_after_comm(stat: &str) -> Option<Vec<&str>> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().collect())
}

fn link(path: &str) -> Result<Vec<u8>> {
    Ok(fs::read_link(path)?.as_os_str().as_bytes().to_vec())
}

/// `mnt:[4026531841]` → 4026531841.
fn namespace(path: &str) -> Result<u32> {
    let link = fs::read_link(path)?.to_string_lossy().into_owned();
    let digits: String = link.chars().filter(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}
