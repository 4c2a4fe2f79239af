//! The collector's side of the stamp socket: checks the client, finds its login process, sends the answer back.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task;
use tokio::time::timeout;
use tracing::warn;
use vctl_common::causes::WithCauses;

use super::login::{LoginError, LoginFacts, login_of};
use super::protocol::{self, LINE_MAX, ProtocolError, StampReply, StampRequest};
use crate::proc::reader::ProcReader;

/// Stamps in work at the same time; more wait in the socket's backlog.
const CONCURRENT: usize = 64;

/// The hook writes its line at once; a slower client is not the hook.
const READ_DEADLINE: Duration = Duration::from_secs(1);

/// The hook does not wait longer than this for the answer.
const REPLY_DEADLINE: Duration = protocol::HELD_FOR;

/// A login that waits for its stamp.
#[derive(Debug)]
pub struct PendingStamp {
    pub request: StampRequest,
    pub login: LoginFacts,
    /// If it is dropped without an answer, the hook counts the collector as unable to answer.
    pub reply: oneshot::Sender<StampReply>,
}

/// Failed requests since the start, for the log.
#[derive(Debug, Default)]
struct Failures {
    /// Clients that were not root.
    refused_peers: AtomicU64,
    /// Lines that were late, too long or not a request.
    bad_requests: AtomicU64,
    /// Requests without a login process that could be found.
    no_login: AtomicU64,
    /// Requests that the pipeline did not answer.
    unanswered: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another agent uses `{}`", path.display())]
    InUse { path: PathBuf },
    #[error("`{}` {why}", path.display())]
    Unsafe { path: PathBuf, why: &'static str },
    #[error("cannot {what} `{}`", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The bound socket. The file stays after a drop: the next agent replaces it, and hooks wait a moment for a
/// restart.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    failures: Arc<Failures>,
    /// The only user that may send requests: our own, which is root outside tests.
    owner: u32,
    /// Held while the socket is ours: of two agents that start at once, only one may decide that the old socket
    /// is stale.
    _lock: Flock<File>,
}

impl Server {
    /// Binds `agent.sock` in `run_dir`, which is created when it is missing. Needs a tokio runtime.
    ///
    /// Replaces an existing socket only when no process answers on it.
    pub fn bind(run_dir: &Path) -> Result<Self, BindError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(run_dir)
            .map_err(|source| failed("create", run_dir, source))?;
        check_directory(run_dir)?;
        let path = run_dir.join("agent.sock");
        let lock = lock(&run_dir.join("agent.lock"), &path)?;
        remove_stale(&path)?;
        let listener = StdListener::bind(&path).map_err(|source| failed("bind", &path, source))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))
            .and_then(|()| listener.set_nonblocking(true))
            .map_err(|source| failed("protect", &path, source))?;
        let listener = UnixListener::from_std(listener)
            .map_err(|source| failed("listen on", &path, source))?;
        Ok(Self {
            listener,
            failures: Arc::default(),
            owner: nix::unistd::geteuid().as_raw(),
            _lock: lock,
        })
    }

    /// Serves until `logins` is closed. Sends each login there once, and its answer back to the hook.
    pub async fn run(self, reader: ProcReader, logins: mpsc::Sender<PendingStamp>) {
        let slots = Arc::new(Semaphore::new(CONCURRENT));
        while !logins.is_closed() {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = logins.closed() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors or memory: an immediate retry would only spin.
                    warn!(error = %WithCauses(&error), "Cannot accept on the stamp socket.");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (reader, logins) = (reader.clone(), logins.clone());
            let (failures, owner) = (Arc::clone(&self.failures), self.owner);
            task::spawn(async move {
                if let Err(error) = serve(stream, owner, reader, logins).await {
                    error.count(&failures);
                }
                drop(slot);
            });
        }
    }
}

/// The reason why a connection failed.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("client with uid {uid} is not root")]
    NotRoot { uid: u32 },
    #[error("client has no process id in this namespace")]
    NoPid,
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error("client did not send a whole line in time")]
    Silent,
    #[error(transparent)]
    Request(#[from] ProtocolError),
    #[error("connection broke")]
    Broken(#[from] io::Error),
    #[error("the pipeline did not answer")]
    Unanswered,
}

impl ServeError {
    /// Counts, and logs each kind when its count is a power of two, so a forger cannot fill the log.
    fn count(&self, failures: &Failures) {
        let counter = match self {
            Self::NotRoot { .. } => &failures.refused_peers,
            Self::NoPid | Self::Login(_) => &failures.no_login,
            Self::Silent | Self::Request(_) | Self::Broken(_) => &failures.bad_requests,
            Self::Unanswered => &failures.unanswered,
        };
        let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            warn!(error = %self, count, "A stamp request failed.");
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    owner: u32,
    reader: ProcReader,
    logins: mpsc::Sender<PendingStamp>,
) -> Result<(), ServeError> {
    let peer = stream.peer_cred()?;
    if peer.uid() != owner {
        return Err(ServeError::NotRoot { uid: peer.uid() });
    }
    let stamper = peer
        .pid()
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|pid| *pid > 0);
    let stamper = stamper.ok_or(ServeError::NoPid)?;

    let line = timeout(READ_DEADLINE, read_line(&mut stream))
        .await
        .map_err(|_| ServeError::Silent)??;
    // `vctl-agent check` connects only to see whether the collector listens.
    if line.is_empty() {
        return Ok(());
    }
    let request = match protocol::decode_request(&line) {
        Ok(request) => request,
        Err(error) => {
            refuse(&mut stream, &error.to_string()).await?;
            return Err(error.into());
        }
    };
    // On another thread: without a login uid it asks name services, which may hang.
    let user = request.user.clone();
    let login = task::spawn_blocking(move || login_of(&reader, stamper, &user));
    let login = match timeout(REPLY_DEADLINE, login).await {
        Ok(Ok(Ok(login))) => login,
        Ok(Ok(Err(error))) => {
            refuse(&mut stream, &error.to_string()).await?;
            return Err(error.into());
        }
        Ok(Err(_)) | Err(_) => return Err(ServeError::Unanswered),
    };

    let (reply, answer) = oneshot::channel();
    let login = PendingStamp {
        request,
        login,
        reply,
    };
    // Waits while the pipeline is busy: the hook waits longer than any batch takes.
    timeout(REPLY_DEADLINE, logins.send(login))
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or(ServeError::Unanswered)?;
    let answer = timeout(REPLY_DEADLINE, answer)
        .await
        .ok()
        .and_then(Result::ok)
        .ok_or(ServeError::Unanswered)?;
    send(&mut stream, &answer).await
}

async fn refuse(stream: &mut UnixStream, reason: &str) -> Result<(), ServeError> {
    let reason = reason.to_owned();
    send(stream, &StampReply::Refused { reason }).await
}

async fn send(stream: &mut UnixStream, reply: &StampReply) -> Result<(), ServeError> {
    let line = protocol::encode(reply)?;
    timeout(READ_DEADLINE, stream.write_all(&line))
        .await
        .map_err(|_| ServeError::Silent)??;
    Ok(())
}

/// Returns the line, empty when the client closed without sending.
async fn read_line(stream: &mut UnixStream) -> Result<Vec<u8>, ServeError> {
    let mut line = Vec::with_capacity(4096);
    while !line.ends_with(b"\n") {
        if line.len() > LINE_MAX {
            return Err(ProtocolError::TooLong { len: line.len() }.into());
        }
        if stream.read_buf(&mut line).await? == 0 {
            return if line.is_empty() {
                Ok(line)
            } else {
                Err(ServeError::Silent)
            };
        }
    }
    Ok(line)
}

/// A user that can rename the socket could answer instead of the collector.
fn check_directory(run_dir: &Path) -> Result<(), BindError> {
    let meta = run_dir
        .symlink_metadata()
        .map_err(|source| failed("look at", run_dir, source))?;
    let why = if !meta.is_dir() {
        "is not a directory"
    } else if meta.uid() != nix::unistd::geteuid().as_raw() {
        "belongs to another user"
    } else if meta.mode() & 0o022 != 0 {
        "can be written by others"
    } else {
        return Ok(());
    };
    Err(BindError::Unsafe {
        path: run_dir.to_owned(),
        why,
    })
}

fn lock(path: &Path, socket: &Path) -> Result<Flock<File>, BindError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
        .map_err(|source| failed("open", path, source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| BindError::InUse {
        path: socket.to_owned(),
    })
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("look at", path, source)),
    };
    if !meta.file_type().is_socket() {
        return Err(BindError::Unsafe {
            path: path.to_owned(),
            why: "exists and is not a socket",
        });
    }
    // An agent of another version or mount has another lock, and still owns its socket.
    match StdStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| failed("remove", path, source))
        }
        _ => Err(BindError::InUse {
            path: path.to_owned(),
        }),
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> BindError {
    BindError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_peer_that_is_not_root_gets_no_answer_and_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut server = Server::bind(dir.path()).unwrap();
            server.owner = server.owner.wrapping_add(1);
            let failures = Arc::clone(&server.failures);
            let (sender, mut logins) = mpsc::channel(1);
            let running = tokio::spawn(server.run(ProcReader::host(), sender));
            let socket = dir.path().join("agent.sock");
            let answer = task::spawn_blocking(move || {
                let mut answer = Vec::new();
                StdStream::connect(socket)
                    .unwrap()
                    .read_to_end(&mut answer)
                    .unwrap();
                answer
            });
            assert_eq!(answer.await.unwrap(), b"");
            assert_eq!(failures.refused_peers.load(Ordering::Relaxed), 1);
            assert!(logins.try_recv().is_err());
            drop(logins);
            running.await.unwrap();
        });
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        assert!(matches!(
            Server::bind(dir.path()),
            Err(BindError::Unsafe { .. })
        ));
    }
}
