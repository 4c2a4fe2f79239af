//! The directory of the sockets through which an `ssh` finds its proxy: `~/.vctl/ssh`, or one outside the home.
//!
//! `agent.sock` is the agent socket for every `ssh`. Each proxy listens at a name derived from the host's signature over
//! its key exchange, which only a process that saw the exchange can know.
//!
//! If the home cannot be written, or its path is too long for a socket, the directory is `vctl` in `XDG_RUNTIME_DIR`, or
//! `vctl-UID` in the temporary directory. Another user could create one there, so it must belong to this user alone, in
//! a directory from which no other user can move it.

use std::env;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use sha2::{Digest as _, Sha256};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;
use vctl_common::file_lock::{self, Tried};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::state_dir::StateDir;

/// Maximum length of a socket's path on the strictest system, and the length of the longest name in the directory.
const PATH: usize = 103;
const NAME: usize = "/0123456789012345678901.sock".len();

/// Pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// The directory, accessible only to its owner.
#[derive(Clone, Debug)]
pub(crate) struct SocketDir {
    /// Directory of the sockets.
    dir: PathBuf,
    /// The file that `ssh` includes; always in the home.
    config: PathBuf,
}

/// A listening socket; its file is removed with it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Identifies the file, which another process may have replaced.
    inode: u64,
}

impl SocketDir {
    /// Finds the directory. Processes with the same environment find the same one.
    pub(crate) fn of(state: &StateDir) -> Self {
        let own = state.file("ssh");
        let config = own.join("config");
        let can_have_sockets = state.error().is_none() && fits(&own) && is_writable(&own);
        let dir = if can_have_sockets {
            own
        } else {
            outside_home()
        };
        Self { dir, config }
    }

    /// Creates the directory if it is missing.
    pub(crate) fn make(&self, state: &StateDir) -> Result<(), CliError> {
        if self.is_in_home() {
            state.make()?;
        }
        self.make_here().map_err(|error| self.unusable(&error))
    }

    /// Creates the directory of the included file, which may be another one.
    pub(crate) fn make_for_config(&self, state: &StateDir) -> Result<(), CliError> {
        state.make()?;
        let dir = self.config.parent().unwrap_or(&self.config);
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let message = format!("cannot create `{}`", dir.display());
                Err(CliError::new(Exit::Failure, message).caused_by(&error))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the directory is where the installed ssh_config looks for it.
    pub(crate) fn is_in_home(&self) -> bool {
        self.config.parent() == Some(&self.dir)
    }

    fn make_here(&self) -> io::Result<()> {
        if !fits(&self.dir) {
            return Err(io::Error::other("its path is too long for a socket"));
        }
        if !self.is_in_home() {
            self.dir.parent().map_or(Ok(()), check_parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.dir)?;
        if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other(
                "it is not a directory that belongs to you",
            ));
        }
        if metadata.mode() & 0o777 != 0o700 {
            fs::set_permissions(&self.dir, Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    pub(crate) fn unusable(&self, error: &io::Error) -> CliError {
        let message = format!(
            "cannot serve as an agent for `ssh` in `{}`",
            self.dir.display()
        );
        let error = CliError::new(Exit::Failure, message).caused_by(error);
        if self.is_in_home() {
            return error;
        }
        error.hint("set `XDG_RUNTIME_DIR` or `VCTL_HOME` to a directory that only you can write")
    }

    /// Returns the path of a temporary file beside the sockets.
    pub(crate) fn temporary(&self, name: &str) -> PathBuf {
        self.dir.join(format!("config.{name}"))
    }

    /// Path of the agent socket in the configuration of `ssh`.
    pub(crate) fn agent(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    /// Path of the configuration lines for `ssh`.
    pub(crate) fn config(&self) -> PathBuf {
        self.config.clone()
    }

    /// Path of the socket of the proxy that saw this signature. The name is a hash: a signature is not a file name.
    pub(super) fn proxy(&self, signature: &[u8]) -> PathBuf {
        let digest = Sha256::digest(signature);
        let name = Base64UrlUnpadded::encode_string(&digest[..16]);
        self.dir.join(format!("{name}.sock"))
    }

    /// Marks a proxy as running until the lock is dropped: the agent process does not end meanwhile.
    pub(super) fn enter(&self) -> io::Result<File> {
        let lock = private_file::open_lock(&self.dir.join("proxies.lock"))?;
        // The agent process holds this lock only while it ends.
        file_lock::shared(&lock)?;
        Ok(lock)
    }

    /// Locks out new proxies if none is running, so that the agent process can end.
    pub(super) fn close(&self) -> io::Result<(File, Tried)> {
        taken(&self.dir.join("proxies.lock"))
    }

    /// Marks the agent process as running until the lock is dropped; `None` if one runs already.
    ///
    /// On a file system without locks, a process that answers counts as running. If two start at the same time, both
    /// serve: the first keeps its current logins, and the second gets the later ones.
    pub(super) fn lock_agent(&self) -> io::Result<Option<File>> {
        match taken(&self.dir.join("agent.lock"))? {
            (file, Tried::Taken) => Ok(Some(file)),
            (file, Tried::Unsupported) if !answers(&self.agent()) => Ok(Some(file)),
            _ => Ok(None),
        }
    }

    /// Removes the sockets of killed proxies. No proxy may be running.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "sock")
            {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Says whether the longest path of a socket in a directory is short enough.
fn fits(dir: &Path) -> bool {
    dir.as_os_str().len() + NAME <= PATH
}

/// Says whether a directory in the home can be written, or made. `access` knows read-only file systems as well.
fn is_writable(dir: &Path) -> bool {
    let (write, effective) = (AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS);
    let can_write = |path: &Path| faccessat(AT_FDCWD, path, write, effective);
    // The directory, `~/.vctl`, the home: the first that exists decides.
    for path in dir.ancestors().take(3) {
        match can_write(path) {
            Ok(()) => return true,
            Err(Errno::ENOENT) => {}
            Err(_) => return false,
        }
    }
    false
}

fn outside_home() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let uid = nix::unistd::geteuid();
    let of_user = |dir: &PathBuf| {
        let metadata = fs::metadata(dir);
        metadata.is_ok_and(|metadata| metadata.uid() == uid.as_raw()) && is_writable(dir)
    };
    match runtime.filter(|dir| dir.is_absolute() && of_user(dir)) {
        Some(dir) => dir.join("vctl"),
        None => env::temp_dir().join(format!("vctl-{uid}")),
    }
}

/// Refuses a directory in which another user could put a directory in the place of ours.
fn check_parent(parent: &Path) -> io::Result<()> {
    const STICKY: u32 = 0o1000;
    let metadata = fs::metadata(parent)?;
    let is_trusted = [0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid());
    let is_shared = metadata.mode() & 0o022 != 0;
    if is_trusted && (!is_shared || metadata.mode() & STICKY != 0) {
        return Ok(());
    }
    let why = format!("other users can change `{}`", parent.display());
    Err(io::Error::other(why))
}

fn taken(path: &Path) -> io::Result<(File, Tried)> {
    let file = private_file::open_lock(path)?;
    let tried = file_lock::try_exclusive(&file)?;
    Ok((file, tried))
}

/// Returns whether a process listens at a path.
pub(super) fn answers(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

impl Listener {
    /// Listens at `path`, and replaces an earlier socket there.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(path)?;
        let path = path.to_owned();
        // Until now only the directory's mode kept others out.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let inode = fs::symlink_metadata(&path)?.ino();
        Ok(Self {
            socket,
            path,
            inode,
        })
    }

    /// Returns the next connection of a process of the same user. After a failure, most likely for too many open files,
    /// it pauses: the next login needs this socket.
    pub(super) async fn next(&self) -> UnixStream {
        loop {
            match self.accept().await {
                Ok(stream) => return stream,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.socket.accept().await?;
            let own = nix::unistd::geteuid().as_raw();
            if stream.peer_cred().is_ok_and(|peer| peer.uid() == own) {
                return Ok(stream);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path);
        if now.is_ok_and(|now| now.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
