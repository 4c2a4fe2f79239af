//! `~/.vctl/ssh`: the sockets through which an `ssh` finds its proxy.
//!
//! `agent.sock` is the agent socket for every `ssh`. Each proxy listens at a name derived from the host's signature over
//! its key exchange, which only a process that saw the exchange can know.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sha2::{Digest as _, Sha256};
use tokio::net::{UnixListener, UnixStream};
use vctl_common::file_lock::{self, Tried};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::state_dir::StateDir;

/// Maximum length of a socket's path on the strictest system, and the length of the longest name in the directory.
const PATH: usize = 103;
const NAME: usize = "/0123456789012345678901.sock".len();

/// The directory, accessible only to its owner.
#[derive(Clone, Debug)]
pub(crate) struct SocketDir(PathBuf);

/// A listening socket; its file is removed with it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Identifies the file, which another process may have replaced.
    inode: u64,
}

impl SocketDir {
    pub(crate) fn of(state: &StateDir) -> Self {
        Self(state.file("ssh"))
    }

    /// Creates the directory if it is missing.
    pub(crate) fn make(&self, state: &StateDir) -> Result<(), CliError> {
        state.make()?;
        self.make_here().map_err(|error| self.unusable(&error))
    }

    fn make_here(&self) -> io::Result<()> {
        if self.0.as_os_str().len() + NAME > PATH {
            return Err(io::Error::other("its path is too long for a socket"));
        }
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.0)?;
        if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other(
                "it is not a directory that belongs to you",
            ));
        }
        if metadata.mode() & 0o777 != 0o700 {
            fs::set_permissions(&self.0, Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    pub(crate) fn unusable(&self, error: &io::Error) -> CliError {
        let message = format!(
            "cannot serve as an agent for `ssh` in `{}`",
            self.0.display()
        );
        CliError::new(Exit::Failure, message).caused_by(error)
    }

    /// Path of the agent socket in the configuration of `ssh`.
    pub(crate) fn agent(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// Path of the configuration lines for `ssh`.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config")
    }

    /// Path of the socket of the proxy that saw this signature. The name is a hash: a signature is not a file name.
    pub(super) fn proxy(&self, signature: &[u8]) -> PathBuf {
        let digest = Sha256::digest(signature);
        let name = Base64UrlUnpadded::encode_string(&digest[..16]);
        self.0.join(format!("{name}.sock"))
    }

    /// Marks a proxy as running until the lock is dropped: the agent process does not end meanwhile.
    pub(super) fn enter(&self) -> io::Result<File> {
        let lock = private_file::open_lock(&self.0.join("proxies.lock"))?;
        // The agent process holds this lock only while it ends.
        file_lock::shared(&lock)?;
        Ok(lock)
    }

    /// Locks out new proxies if none is running, so that the agent process can end.
    pub(super) fn close(&self) -> io::Result<(File, Tried)> {
        taken(&self.0.join("proxies.lock"))
    }

    /// Marks the agent process as running until the lock is dropped; `None` if one runs already.
    ///
    /// On a file system without locks, a process that answers counts as running. If two start at the same time, both
    /// serve: the first keeps its current logins, and the second gets the later ones.
    pub(super) fn lock_agent(&self) -> io::Result<Option<File>> {
        match taken(&self.0.join("agent.lock"))? {
            (file, Tried::Taken) => Ok(Some(file)),
            (file, Tried::Unsupported) if !answers(&self.agent()) => Ok(Some(file)),
            _ => Ok(None),
        }
    }

    /// Removes the sockets of killed proxies. No proxy may be running.
    pub(super) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
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

    /// Accepts the next connection of a process of the same user.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
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
