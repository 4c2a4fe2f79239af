//! Files of late logins, which continued without a stamp: the hook writes them, the collector reads them.
//!
//! A file is `<session id>.json`, mode 0600, in a directory of root alone. It is written under another name,
//! synced and renamed, so it is always complete. Links are not followed, and any other entry is moved to
//! `rejected/`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use vctl_common::id::{BootId, SessionId};
use vctl_common::session::Stamp;
use vctl_common::time::{BootNs, wall_now};

use super::login::{LoginFacts, kernel_facts};
use super::protocol::{self, StampRequest};
use crate::proc::reader::ProcReader;

/// Most bytes of a file: a request at its limit, and the leader.
const FILE_MAX: u64 = protocol::LINE_MAX as u64 + 4096;

/// Most entries of one scan: a full directory must not fill memory.
const SCAN_MAX: usize = 4096;

/// Most bytes of certificates in one scan, for the same reason: the rest comes with the next one.
const SCAN_BYTES_MAX: usize = 16 << 20;

const REJECTED: &str = "rejected";

/// The content of a file: a login that continued without a stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateLoginFile {
    pub request: StampRequest,
    /// The hook's parent, as the kernel knew it when the hook ran.
    pub login: LoginFacts,
    /// Pids, start times and clocks are valid within one boot only.
    pub boot: BootId,
}

/// A late login as the collector found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateLogin {
    pub request: StampRequest,
    /// Today's facts when the login is alive, else those of the hook.
    pub login: LoginFacts,
    /// The login process still runs, so its processes can be marked.
    pub alive: bool,
}

impl LateLogin {
    /// Returns the stamp of the session. `runs` says whether a process of it still does, its own one or another.
    pub fn stamp(&self, runs: bool) -> Stamp {
        match (runs, self.request.break_glass) {
            (false, _) => Stamp::Missed,
            (true, true) => Stamp::BreakGlass,
            (true, false) => Stamp::Late,
        }
    }
}

/// An entry of the directory that is not the file of a late login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The name on disk; hostile text.
    pub name: String,
    pub why: String,
}

#[derive(Debug, Default)]
pub struct Scan {
    /// In the order of the logins.
    pub logins: Vec<LateLogin>,
    /// Each entry is reported once, even if it cannot be moved.
    pub rejected: Vec<Rejected>,
}

#[derive(Debug, thiserror::Error)]
pub enum LateLoginError {
    #[error("cannot {what} in `{}`", dir.display())]
    Io {
        what: &'static str,
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Others could plant sessions there.
    #[error("`{}` must be a directory of root with mode 0700", dir.display())]
    Unsafe { dir: PathBuf },
    #[error("the login does not fit into a file: {0}")]
    Encode(#[from] protocol::ProtocolError),
}

/// Writes a file that survives a power cut once this returns.
pub fn write(dir: &Path, file: &LateLoginFile) -> Result<(), LateLoginError> {
    let fail = |what| move |source: io::Error| failed(what, dir, source);
    let line = protocol::encode(file)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fail("create the directory"))?;
    let directory = open_directory(dir)?;

    let name = file_name(file.request.session_id);
    let temporary = format!(".{name}.tmp");
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(
        &directory,
        temporary.as_str(),
        flags,
        Mode::S_IRUSR | Mode::S_IWUSR,
    )
    .map_err(|errno| failed("create a file", dir, errno.into()))?;
    let mut file = File::from(file);
    file.write_all(&line)
        .and_then(|()| file.sync_all())
        .map_err(fail("write a file"))?;
    renameat(&directory, temporary.as_str(), &directory, name.as_str())
        .map_err(|errno| failed("rename a file", dir, errno.into()))?;
    File::from(directory).sync_all().map_err(fail("sync"))
}

/// The collector's side of the directory; remembers the entries that it has reported.
#[derive(Debug)]
pub struct LateLoginDir {
    dir: PathBuf,
    reported: HashSet<Vec<u8>>,
}

impl LateLoginDir {
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            reported: HashSet::new(),
        }
    }

    /// Returns the late logins. A missing directory has none.
    ///
    /// A file stays until [`Self::remove`] and is returned by every scan until then.
    pub fn scan(&mut self, reader: &ProcReader) -> Result<Scan, LateLoginError> {
        let mut scan = Scan::default();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(scan),
            Err(source) => return Err(failed("list files", &self.dir, source)),
        };
        let directory = open_directory(&self.dir)?;
        let mut bytes = 0_usize;
        for entry in entries.take(SCAN_MAX).filter_map(Result::ok) {
            let name = entry.file_name();
            if name == REJECTED {
                continue;
            }
            let read = if !is_temporary(&name) {
                read_file(&directory, &name)
            } else if is_stale(&entry) {
                Err("is incomplete: its hook died while writing it".to_owned())
            } else {
                continue;
            };
            match read {
                Ok(file) => {
                    bytes += file.request.auth_info.as_ref().map_or(0, String::len);
                    scan.logins.push(late(file, reader));
                    if bytes > SCAN_BYTES_MAX {
                        break;
                    }
                }
                Err(why) => {
                    let moved = reject(&directory, &name).is_ok();
                    if moved || self.reported.insert(name.as_bytes().to_vec()) {
                        scan.rejected.push(Rejected {
                            name: name.to_string_lossy().into_owned(),
                            why,
                        });
                    }
                }
            }
        }
        scan.logins.sort_by_key(|login| {
            (
                login.request.hook_started,
                login.request.session_id.as_uuid(),
            )
        });
        Ok(scan)
    }

    /// Removes a file durably. A file that is gone already is not an error.
    pub fn remove(&self, session: SessionId) -> Result<(), LateLoginError> {
        let directory = open_directory(&self.dir)?;
        match unlinkat(
            &directory,
            file_name(session).as_str(),
            UnlinkatFlags::NoRemoveDir,
        ) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
            Err(errno) => return Err(failed("remove a file", &self.dir, errno.into())),
        }
        File::from(directory)
            .sync_all()
            .map_err(|source| failed("sync", &self.dir, source))
    }
}

fn late(file: LateLoginFile, reader: &ProcReader) -> LateLogin {
    let LateLoginFile {
        mut request,
        mut login,
        boot,
    } = file;
    let same_boot = reader.boot_id().is_ok_and(|now| now == boot);
    if !same_boot {
        // Clock and ids are of another boot. The session id still has its time.
        request.hook_started = BootNs(0);
        login.leader.start = BootNs(0);
        (login.audit_session, login.cgroup) = (None, None);
    }
    // The parent of a hook without its sshd is pid 1: a mark there would mark the whole host.
    let alive = same_boot && login.leader.tgid > 1 && reader.is_alive(login.leader);
    if alive {
        // Read again because a later PAM module may have moved the login, as pam_systemd does. Only what the kernel has:
        // name services may hang, and logins wait for the collector.
        let now = kernel_facts(reader, login.leader.tgid).ok();
        if let Some(now) = now.filter(|now| now.leader == login.leader) {
            login = now;
        }
    }
    LateLogin {
        request,
        login,
        alive,
    }
}

/// Reads one entry; the error says why it is not a late login.
fn read_file(directory: &OwnedFd, name: &OsStr) -> Result<LateLoginFile, String> {
    let session = session_of(name).ok_or("name is not a session id")?;
    // O_NONBLOCK: opening a FIFO would wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty())
        .map_err(|errno| format!("cannot be opened: {}", errno.desc()))?;
    let file = File::from(file);
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err("belongs to another user".to_owned());
    }
    if meta.mode() & 0o022 != 0 {
        return Err("can be written by others".to_owned());
    }
    if meta.nlink() != 1 {
        return Err("has another hard link".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    parse_file(&bytes, session)
}

/// Parses the file of a session.
fn parse_file(bytes: &[u8], session: SessionId) -> Result<LateLoginFile, String> {
    if bytes.len() as u64 > FILE_MAX {
        return Err("is too large".to_owned());
    }
    let file: LateLoginFile =
        serde_json::from_slice(bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if file.request.version != protocol::VERSION {
        return Err(format!("has version {}", file.request.version));
    }
    if file.request.session_id != session {
        return Err("has another session id than its name".to_owned());
    }
    Ok(file)
}

fn reject(directory: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    match mkdirat(directory, REJECTED, Mode::S_IRWXU) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let rejected = openat(directory, REJECTED, flags, Mode::empty())?;
    renameat(directory, name, &rejected, name)
}

fn open_directory(dir: &Path) -> Result<OwnedFd, LateLoginError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open(dir, flags, Mode::empty())
        .map_err(|errno| failed("open the directory", dir, errno.into()))?;
    let directory = File::from(directory);
    let meta = directory
        .metadata()
        .map_err(|source| failed("open the directory", dir, source))?;
    if meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(LateLoginError::Unsafe {
            dir: dir.to_owned(),
        });
    }
    Ok(directory.into())
}

fn file_name(session: SessionId) -> String {
    format!("{session}.json")
}

fn session_of(name: &OsStr) -> Option<SessionId> {
    let text = name.to_str()?;
    let session: SessionId = text.strip_suffix(".json")?.parse().ok()?;
    // A UUID has several spellings; a file name only one.
    (file_name(session) == text).then_some(session)
}

/// Most time that a hook runs.
const HOOK_LIFETIME: Duration = Duration::from_mins(1);

fn is_stale(entry: &fs::DirEntry) -> bool {
    let written = entry.metadata().and_then(|meta| meta.modified());
    written.is_ok_and(|written| {
        wall_now()
            .duration_since(written)
            .is_ok_and(|age| age > HOOK_LIFETIME)
    })
}

fn is_temporary(name: &OsStr) -> bool {
    name.to_str()
        .and_then(|name| name.strip_prefix('.')?.strip_suffix(".tmp"))
        .is_some_and(|name| session_of(OsStr::new(name)).is_some())
}

fn failed(what: &'static str, dir: &Path, source: io::Error) -> LateLoginError {
    LateLoginError::Io {
        what,
        dir: dir.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
