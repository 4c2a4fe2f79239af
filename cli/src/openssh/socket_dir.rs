//! `~/.vctl/ssh`: where an `ssh` and its proxy find each other.
//!
//! `agent.sock` is the switchboard's. Each proxy listens at a name that is made of the host's signature
//! over its key exchange; to know it is to have seen that exchange.

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

/// What the path of a socket may have where it may have least, and what the longest name in the
/// directory takes of it.
const PATH: usize = 103;
const NAME: usize = "/0123456789012345678901.sock".len();

/// The directory, its owner's alone.
#[derive(Clone, Debug)]
pub(crate) struct MeetingPlace(PathBuf);

/// A socket with a name; the name goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// What has the name now may be another's.
    inode: u64,
}

impl MeetingPlace {
    pub(crate) fn of(state: &StateDir) -> Self {
        Self(state.file("ssh"))
    }

    /// Makes it when it is not there.
    pub(crate) fn make(&self, state: &StateDir) -> Result<(), CliError> {
        state.make()?;
        self.make_here().map_err(|error| self.unusable(&error))
    }

    fn make_here(&self) -> io::Result<()> {
        if self.0.as_os_str().len() + NAME > PATH {
            return Err(io::Error::other(
                "its path is too long for that of a socket",
            ));
        }
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.0)?;
        if !metadata.is_dir() || metadata.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other("it is no directory of yours"));
        }
        if metadata.mode() & 0o777 != 0o700 {
            fs::set_permissions(&self.0, Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    pub(crate) fn unusable(&self, error: &io::Error) -> CliError {
        let message = format!("cannot be an agent for `ssh` in `{}`", self.0.display());
        CliError::new(Exit::Failure, message).caused_by(error)
    }

    /// Where `ssh` is told to look for its agent.
    pub(crate) fn agent(&self) -> PathBuf {
        self.0.join("agent.sock")
    }

    /// The lines that `ssh` is to read.
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config")
    }

    /// Where the proxy listens that saw this signature. What a signature is made of is no file name.
    pub(super) fn proxy(&self, signature: &[u8]) -> PathBuf {
        let digest = Sha256::digest(signature);
        let name = Base64UrlUnpadded::encode_string(&digest[..16]);
        self.0.join(format!("{name}.sock"))
    }

    /// Says that a proxy is there, until it is dropped: the switchboard does not end meanwhile.
    pub(super) fn enter(&self) -> io::Result<File> {
        let lock = private_file::open_lock(&self.0.join("proxies.lock"))?;
        // The switchboard holds it for no longer than it takes to go.
        file_lock::shared(&lock)?;
        Ok(lock)
    }

    /// Keeps new proxies waiting, when none is there: for who wants to go.
    pub(super) fn close(&self) -> io::Result<(File, Tried)> {
        taken(&self.0.join("proxies.lock"))
    }

    /// Says that the switchboard is there, until it is dropped; nothing when there is one.
    ///
    /// Where the file system has no locks, a switchboard is one that answers. Two that start at once both serve:
    /// the first keeps the logins that it carries, and the second gets the rest.
    pub(super) fn be_the_switchboard(&self) -> io::Result<Option<File>> {
        match taken(&self.0.join("agent.lock"))? {
            (file, Tried::Taken) => Ok(Some(file)),
            (file, Tried::Unsupported) if !answers(&self.agent()) => Ok(Some(file)),
            _ => Ok(None),
        }
    }

    /// Takes away the sockets of proxies that were killed. Nobody may be there.
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

/// Says whether a process listens at a path.
pub(super) fn answers(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

impl Listener {
    /// Listens at `path`, instead of whoever listened there before.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixListener::bind(path)?;
        let path = path.to_owned();
        // Its directory kept others out until now.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let inode = fs::symlink_metadata(&path)?.ino();
        Ok(Self {
            socket,
            path,
            inode,
        })
    }

    /// Returns the next who connects, of those who are us.
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
