//! Markers of logins that nobody stamped in time: written by the hook, taken in by the collector.
//!
//! A marker is `<session id>.json`, 0600, in a directory of root's alone. It is written under
//! another name, synced and renamed, so one that is there is whole. Nothing in the directory is
//! followed or trusted: an entry that is not exactly that is moved to `rejected/`.

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

use super::login::{LoginFacts, LoginReader};
use super::protocol::{self, StampRequest};

/// A request at its cap with the leader beside it.
const MARKER_MAX: u64 = protocol::LINE_MAX as u64 + 4096;

/// Entries looked at in one scan: a directory full of rubbish must not fill memory.
const SCAN_MAX: usize = 4096;

const REJECTED: &str = "rejected";

/// A login that was let in without a stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    pub request: StampRequest,
    /// The hook's parent, as the kernel knew it when the hook ran.
    pub login: LoginFacts,
    /// Pids, starts and clocks of another boot say nothing in this one.
    pub boot: BootId,
}

/// A marker as the collector found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateLogin {
    pub request: StampRequest,
    /// As it is now when the login is alive, else as the hook saw it.
    pub login: LoginFacts,
    /// The login process is still there, so its processes can be marked.
    pub alive: bool,
}

impl LateLogin {
    /// Returns how the session is to be recorded.
    pub fn stamp(&self) -> Stamp {
        match (self.alive, self.request.break_glass) {
            (false, _) => Stamp::Missed,
            (true, true) => Stamp::BreakGlass,
            (true, false) => Stamp::Late,
        }
    }
}

/// Something in the directory that is no marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// As it is on disk; hostile text.
    pub name: String,
    pub why: String,
}

#[derive(Debug, Default)]
pub struct Scan {
    /// In the order in which the logins happened.
    pub logins: Vec<LateLogin>,
    /// Each entry is reported once, also when it cannot be moved away.
    pub rejected: Vec<Rejected>,
}

#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    #[error("cannot {what} in `{}`", dir.display())]
    Io {
        what: &'static str,
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Others could plant sessions there.
    #[error("`{}` has to be a directory of root's own with mode 0700", dir.display())]
    Unsafe { dir: PathBuf },
    #[error("the marker does not fit: {0}")]
    Encode(#[from] protocol::ProtocolError),
}

/// Writes a marker so that it survives a power cut once this returns.
pub fn write(dir: &Path, marker: &Marker) -> Result<(), MarkerError> {
    let fail = |what| move |source: io::Error| failed(what, dir, source);
    let line = protocol::encode(marker)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fail("create the directory"))?;
    let directory = open_directory(dir)?;

    let name = file_name(marker.request.session_id);
    let temporary = format!(".{name}.tmp");
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(
        &directory,
        temporary.as_str(),
        flags,
        Mode::S_IRUSR | Mode::S_IWUSR,
    )
    .map_err(|errno| failed("create a marker", dir, errno.into()))?;
    let mut file = File::from(file);
    file.write_all(&line)
        .and_then(|()| file.sync_all())
        .map_err(fail("write a marker"))?;
    renameat(&directory, temporary.as_str(), &directory, name.as_str())
        .map_err(|errno| failed("rename a marker", dir, errno.into()))?;
    File::from(directory).sync_all().map_err(fail("sync"))
}

/// The collector's side: remembers what it has complained about.
#[derive(Debug)]
pub struct PendingDir {
    dir: PathBuf,
    reported: HashSet<Vec<u8>>,
}

impl PendingDir {
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            reported: HashSet::new(),
        }
    }

    /// Returns the markers that are there. No directory is no marker.
    ///
    /// A marker stays until [`Self::remove`], and comes again with the next scan.
    pub fn scan(&mut self, reader: &LoginReader) -> Result<Scan, MarkerError> {
        let mut scan = Scan::default();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(scan),
            Err(source) => return Err(failed("list markers", &self.dir, source)),
        };
        let directory = open_directory(&self.dir)?;
        for entry in entries.take(SCAN_MAX).filter_map(Result::ok) {
            let name = entry.file_name();
            if name == REJECTED {
                continue;
            }
            let read = if !is_temporary(&name) {
                read_marker(&directory, &name)
            } else if is_stale(&entry) {
                Err("was never finished: its hook died while writing it".to_owned())
            } else {
                continue;
            };
            match read {
                Ok(marker) => scan.logins.push(late(marker, reader)),
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

    /// Removes a marker so that it stays removed. One that is gone already is no error.
    pub fn remove(&self, session: SessionId) -> Result<(), MarkerError> {
        let directory = open_directory(&self.dir)?;
        match unlinkat(
            &directory,
            file_name(session).as_str(),
            UnlinkatFlags::NoRemoveDir,
        ) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => {}
            Err(errno) => return Err(failed("remove a marker", &self.dir, errno.into())),
        }
        File::from(directory)
            .sync_all()
            .map_err(|source| failed("sync", &self.dir, source))
    }
}

fn late(marker: Marker, reader: &LoginReader) -> LateLogin {
    let Marker {
        mut request,
        mut login,
        boot,
    } = marker;
    let same_boot = reader.boot_id() == Some(boot);
    if !same_boot {
        // The clock and the kernel's ids began anew. When it was, the session's own id still says.
        request.hook_started = BootNs(0);
        login.leader.start = BootNs(0);
        (login.audit_session, login.cgroup) = (None, None);
    }
    // A hook whose sshd had died left pid 1 as its parent: that marks the whole host.
    let alive = same_boot && login.leader.tgid > 1 && reader.is_alive(login.leader);
    let now = reader.facts(login.leader.tgid, &request.user).ok();
    LateLogin {
        // Asked again because what ran behind the hook may have moved the login: pam_systemd does.
        login: now
            .filter(|now| alive && now.leader == login.leader)
            .unwrap_or(login),
        request,
        alive,
    }
}

/// Reads one entry, or says why it is none.
fn read_marker(directory: &OwnedFd, name: &OsStr) -> Result<Marker, String> {
    let session = session_of(name).ok_or("name is no session id")?;
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
        return Err("has another name somewhere".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MARKER_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    parse_marker(&bytes, session)
}

/// Understands the bytes of the marker for that session.
fn parse_marker(bytes: &[u8], session: SessionId) -> Result<Marker, String> {
    if bytes.len() as u64 > MARKER_MAX {
        return Err("is too large".to_owned());
    }
    let marker: Marker =
        serde_json::from_slice(bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if marker.request.version != protocol::VERSION {
        return Err(format!("has version {}", marker.request.version));
    }
    if marker.request.session_id != session {
        return Err("is for another session than its name says".to_owned());
    }
    Ok(marker)
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

fn open_directory(dir: &Path) -> Result<OwnedFd, MarkerError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = open(dir, flags, Mode::empty())
        .map_err(|errno| failed("open the directory", dir, errno.into()))?;
    let directory = File::from(directory);
    let meta = directory
        .metadata()
        .map_err(|source| failed("open the directory", dir, source))?;
    if meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(MarkerError::Unsafe {
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
    // A UUID may be written in several ways; a marker's name only in one.
    (file_name(session) == text).then_some(session)
}

/// No hook lives this long; the wall clock may be wrong, but then the hook's own was.
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

fn failed(what: &'static str, dir: &Path, source: io::Error) -> MarkerError {
    MarkerError::Io {
        what,
        dir: dir.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn marker() -> Marker {
        let reader = LoginReader::host();
        let request = StampRequest {
            version: protocol::VERSION,
            session_id: SessionId::generate(),
            pam_type: "open_session".to_owned(),
            service: "sshd".to_owned(),
            user: "root".to_owned(),
            rhost: None,
            tty: None,
            auth_info: Some("x".repeat(60_000)),
            ssh_connection: None,
            hook_started: BootNs(5),
            hook_pid: 1,
            break_glass: true,
        };
        Marker {
            request,
            login: reader.kernel_facts(std::process::id()).unwrap(),
            boot: reader.boot_id().unwrap(),
        }
    }

    struct Dir(tempfile::TempDir);

    impl Dir {
        fn new() -> Self {
            let dir = Self(tempfile::tempdir().unwrap());
            fs::create_dir(dir.path()).unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
            dir
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("pending")
        }

        fn scan(&self) -> Scan {
            PendingDir::new(&self.path())
                .scan(&LoginReader::host())
                .unwrap()
        }
    }

    #[test]
    fn a_marker_is_there_until_it_is_removed() {
        let dir = Dir::new();
        let marker = marker();
        write(&dir.path(), &marker).unwrap();
        for _ in 0..2 {
            let scan = dir.scan();
            assert_eq!(scan.rejected, []);
            assert_eq!(scan.logins[0].request, marker.request);
            assert_eq!(scan.logins[0].login.leader, marker.login.leader);
        }
        let pending = PendingDir::new(&dir.path());
        pending.remove(marker.request.session_id).unwrap();
        pending.remove(marker.request.session_id).unwrap();
        assert_eq!(dir.scan().logins, []);
    }

    #[test]
    fn a_login_that_is_over_is_missed_also_when_its_pid_is_used_again() {
        let dir = Dir::new();
        let mut reused = marker();
        reused.login.leader.start = BootNs(reused.login.leader.start.0 + 10_000_000);
        let mut over = marker();
        over.login.leader.tgid = u32::MAX;
        let mut before_reboot = marker();
        before_reboot.boot = "00000000-0000-4000-8000-000000000000".parse().unwrap();
        let mut orphaned = marker();
        orphaned.login = LoginReader::host().kernel_facts(1).unwrap();
        for marker in [&reused, &over, &before_reboot, &orphaned] {
            write(&dir.path(), marker).unwrap();
        }
        let logins = dir.scan().logins;
        assert_eq!(logins.len(), 4);
        assert!(logins.iter().all(|login| login.stamp() == Stamp::Missed));
        let rebooted = logins
            .iter()
            .find(|l| l.request.session_id == before_reboot.request.session_id);
        assert_eq!(
            rebooted.map(|login| login.request.hook_started),
            Some(BootNs(0))
        );
    }

    #[test]
    fn a_login_that_is_alive_is_stamped_late_and_break_glass_stays_visible() {
        let dir = Dir::new();
        let mut marker = marker();
        write(&dir.path(), &marker).unwrap();
        assert_eq!(dir.scan().logins[0].stamp(), Stamp::BreakGlass);
        marker.request.break_glass = false;
        marker.request.session_id = SessionId::generate();
        let dir = Dir::new();
        write(&dir.path(), &marker).unwrap();
        assert_eq!(dir.scan().logins[0].stamp(), Stamp::Late);
    }

    #[test]
    fn logins_come_in_the_order_they_happened() {
        let dir = Dir::new();
        for started in [30, 10, 20] {
            let mut marker = marker();
            marker.request.hook_started = BootNs(started);
            write(&dir.path(), &marker).unwrap();
        }
        let started: Vec<u64> = dir
            .scan()
            .logins
            .iter()
            .map(|login| login.request.hook_started.0)
            .collect();
        assert_eq!(started, [10, 20, 30]);
    }

    #[test]
    fn nothing_hostile_is_followed_and_all_of_it_is_moved_away() {
        let dir = Dir::new();
        let outside = dir.0.path().join("outside");
        fs::create_dir(&outside).unwrap();
        // Each is a valid marker under its right name, but for one thing.
        let valid = || {
            let marker = marker();
            let name = file_name(marker.request.session_id);
            (
                dir.path().join(&name),
                outside.join(&name),
                serde_json::to_vec(&marker).unwrap(),
            )
        };
        let mut count = 0;
        let mut hostile = |plant: &dyn Fn(&Path, &Path, &[u8])| {
            let (inside, outside, bytes) = valid();
            plant(&inside, &outside, &bytes);
            count += 1;
        };
        hostile(&|inside, outside, bytes| {
            fs::write(outside, bytes).unwrap();
            symlink(outside, inside).unwrap();
        });
        hostile(&|inside, outside, bytes| {
            fs::write(outside, bytes).unwrap();
            fs::hard_link(outside, inside).unwrap();
        });
        hostile(&|inside, _, bytes| {
            fs::write(inside, bytes).unwrap();
            fs::set_permissions(inside, fs::Permissions::from_mode(0o662)).unwrap();
        });
        hostile(&|inside, _, bytes| {
            fs::write(
                inside.with_file_name(file_name(SessionId::generate())),
                bytes,
            )
            .unwrap();
        });
        hostile(&|inside, _, bytes| fs::write(inside.with_extension("JSON"), bytes).unwrap());
        hostile(&|inside, _, bytes| {
            let name = inside
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .replace('-', "");
            fs::write(inside.with_file_name(name + ".json"), bytes).unwrap();
        });
        hostile(&|inside, _, bytes| {
            let padding = vec![b' '; usize::try_from(MARKER_MAX).unwrap()];
            fs::write(inside, [bytes, &padding].concat()).unwrap();
        });
        hostile(&|inside, _, bytes| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            fs::write(inside, text.replace("\"version\":1", "\"version\":2")).unwrap();
        });
        hostile(&|inside, _, bytes| fs::write(inside, &bytes[..bytes.len() - 1]).unwrap());
        hostile(&|inside, _, _| fs::write(inside, "[".repeat(100_000)).unwrap());
        hostile(&|inside, _, _| fs::create_dir(inside).unwrap());
        hostile(&|inside, _, _| nix::unistd::mkfifo(inside, Mode::S_IRWXU).unwrap());
        hostile(&|inside, _, _| symlink("/dev/zero", inside).unwrap());
        hostile(&|inside, _, _| fs::write(inside.with_file_name("\u{1b}[2J"), "").unwrap());
        if nix::unistd::geteuid().is_root() {
            hostile(&|inside, _, bytes| {
                fs::write(inside, bytes).unwrap();
                std::os::unix::fs::chown(inside, Some(65534), None).unwrap();
            });
        }
        let good = marker();
        write(&dir.path(), &good).unwrap();
        let before = fs::read_dir(&outside).unwrap().count();

        let scan = dir.scan();
        let names: Vec<_> = scan
            .logins
            .iter()
            .map(|login| login.request.session_id)
            .collect();
        assert_eq!(names, [good.request.session_id], "{:#?}", scan.rejected);
        assert_eq!(scan.rejected.len(), count, "{:#?}", scan.rejected);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), before);
        assert_eq!(
            fs::read_dir(dir.path().join(REJECTED)).unwrap().count(),
            count
        );
        assert_eq!(dir.scan().rejected, []);
    }

    #[test]
    fn what_cannot_be_moved_away_is_reported_once() {
        let dir = Dir::new();
        symlink(dir.0.path(), dir.path().join(REJECTED)).unwrap();
        fs::write(dir.path().join("rubbish"), "").unwrap();
        let mut pending = PendingDir::new(&dir.path());
        assert_eq!(
            pending.scan(&LoginReader::host()).unwrap().rejected.len(),
            1
        );
        assert_eq!(
            pending.scan(&LoginReader::host()).unwrap().rejected.len(),
            0
        );
        assert!(dir.path().join("rubbish").exists());
    }

    #[test]
    fn a_marker_that_is_being_written_is_left_alone() {
        let dir = Dir::new();
        let name = format!(".{}.tmp", file_name(SessionId::generate()));
        fs::write(dir.path().join(&name), "{").unwrap();
        let scan = dir.scan();
        assert_eq!((scan.logins.len(), scan.rejected.len()), (0, 0));
        assert!(dir.path().join(&name).exists());
    }

    #[test]
    fn what_a_dying_hook_left_half_written_is_reported() {
        let dir = Dir::new();
        let path = dir
            .path()
            .join(format!(".{}.tmp", file_name(SessionId::generate())));
        let file = File::create(&path).unwrap();
        file.set_modified(wall_now() - Duration::from_mins(2))
            .unwrap();
        assert_eq!(dir.scan().rejected.len(), 1);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_others_can_reach_is_refused() {
        let dir = Dir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(
            write(&dir.path(), &marker()),
            Err(MarkerError::Unsafe { .. })
        ));
        let scan = PendingDir::new(&dir.path()).scan(&LoginReader::host());
        assert!(matches!(scan, Err(MarkerError::Unsafe { .. })));
    }

    #[test]
    fn no_directory_is_no_marker() {
        let dir = tempfile::tempdir().unwrap();
        let mut pending = PendingDir::new(&dir.path().join("none"));
        assert_eq!(pending.scan(&LoginReader::host()).unwrap().logins, []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_marker(&bytes, SessionId::generate());
        }

        #[test]
        fn a_damaged_marker_is_whole_or_refused(at in any::<prop::sample::Index>(), byte: u8) {
            let marker = marker();
            let mut bytes = serde_json::to_vec(&marker).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = parse_marker(&bytes, marker.request.session_id) {
                prop_assert_eq!(read.request.session_id, marker.request.session_id);
            }
        }
    }
}
