//! One question to the collector and its answer, within one deadline.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt,
};

use crate::session::protocol::{self, LINE_MAX, ProtocolError, StampReply};

/// Time to wait for a collector that has not answered yet. A collector that restarts is back by then; a missing
/// one must not cost every login the whole limit.
const RESTART_GRACE: Duration = Duration::from_millis(500);

const RETRY_EVERY: Duration = Duration::from_millis(5);

/// The collector gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("`{}` {why}", path.display())]
    Unsafe { path: PathBuf, why: &'static str },
    #[error("no collector listens on the socket")]
    NobodyListens(#[source] io::Error),
    #[error("the collector did not answer in time")]
    TimedOut,
    #[error("the connection to the collector broke")]
    Broken(#[source] io::Error),
    #[error("this process cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("the collector closed the connection without an answer")]
    Closed,
    #[error("the answer cannot be read")]
    Answer(#[source] ProtocolError),
}

/// Sends `line` to the collector behind `socket_path` and returns its answer.
///
/// `limit` covers connecting, writing and reading. A stopped collector, with or without room in its backlog,
/// costs no more. A collector that closes without an answer was killed or replaced: its successor gets the same
/// request, as long as the limit allows. That is safe because a session id is stamped once, however often it is
/// requested.
pub(super) fn ask(
    socket_path: &Path,
    line: &[u8],
    limit: Duration,
) -> Result<StampReply, AskError> {
    let started = Instant::now();
    let deadline = started + limit;
    let mut patience = RESTART_GRACE.min(limit);
    loop {
        // Checked each time: after a restart it is another socket.
        let error = match owned_by_us(socket_path).and_then(|()| try_connect(socket_path)) {
            Ok(stream) => {
                patience = limit;
                match exchange(stream, line, deadline) {
                    Err(error @ (AskError::Closed | AskError::Broken(_))) => error,
                    done => return done,
                }
            }
            Err(error @ AskError::TimedOut) => {
                patience = limit;
                error
            }
            Err(error @ AskError::NobodyListens(_)) => error,
            Err(error) => return Err(error),
        };
        if started.elapsed() + RETRY_EVERY > patience {
            return Err(error);
        }
        thread::sleep(RETRY_EVERY);
    }
}

fn exchange(
    mut stream: UnixStream,
    line: &[u8],
    deadline: Instant,
) -> Result<StampReply, AskError> {
    write_all(&mut stream, line, deadline)?;
    let answer = read_line(&mut stream, deadline)?;
    protocol::decode_reply(&answer).map_err(AskError::Answer)
}

/// A user that can place another socket there could answer every login.
fn owned_by_us(socket_path: &Path) -> Result<(), AskError> {
    let us = nix::unistd::geteuid().as_raw();
    let directory = socket_path.parent().unwrap_or(Path::new("/"));
    for (path, is_directory) in [(directory, true), (socket_path, false)] {
        let meta = path.symlink_metadata().map_err(AskError::NobodyListens)?;
        let kind = meta.file_type();
        let why = if is_directory && !kind.is_dir() {
            "is not a directory"
        } else if !is_directory && !kind.is_socket() {
            "is not a socket"
        } else if meta.uid() != us {
            "belongs to another user"
        } else if meta.mode() & 0o022 != 0 {
            "can be written by others"
        } else {
            continue;
        };
        return Err(AskError::Unsafe {
            path: path.to_owned(),
            why,
        });
    }
    Ok(())
}

/// Connects without waiting: a full backlog is `TimedOut`, for the caller to try again.
fn try_connect(socket_path: &Path) -> Result<UnixStream, AskError> {
    let broken = |errno: Errno| AskError::Broken(errno.into());
    let fd = socket(
        AddressFamily::Unix,
        SockType::Stream,
        // A blocking connect would wait for ever for room in the backlog of a stopped collector.
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        None,
    )
    .map_err(broken)?;
    let address = UnixAddr::new(socket_path).map_err(broken)?;
    match connect(fd.as_raw_fd(), &address) {
        Ok(()) => {}
        Err(Errno::EAGAIN) => return Err(AskError::TimedOut),
        Err(errno @ (Errno::ECONNREFUSED | Errno::ENOENT)) => {
            return Err(AskError::NobodyListens(errno.into()));
        }
        Err(errno) => return Err(broken(errno)),
    }
    let peer = getsockopt(&fd, sockopt::PeerCredentials).map_err(broken)?;
    if peer.uid() != nix::unistd::geteuid().as_raw() {
        return Err(AskError::Unsafe {
            path: socket_path.to_owned(),
            why: "is answered by another user",
        });
    }
    let stream = UnixStream::from(fd);
    stream.set_nonblocking(false).map_err(AskError::Broken)?;
    Ok(stream)
}

fn write_all(stream: &mut UnixStream, mut line: &[u8], deadline: Instant) -> Result<(), AskError> {
    while !line.is_empty() {
        let left = time_left(deadline)?;
        stream
            .set_write_timeout(Some(left))
            .map_err(AskError::Broken)?;
        match stream.write(line) {
            Ok(0) => return Err(AskError::Closed),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            Err(error) => again(error)?,
        }
    }
    Ok(())
}

fn read_line(stream: &mut UnixStream, deadline: Instant) -> Result<Vec<u8>, AskError> {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while !line.ends_with(b"\n") {
        let left = time_left(deadline)?;
        stream
            .set_read_timeout(Some(left))
            .map_err(AskError::Broken)?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(AskError::Closed),
            Ok(read) => line.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(error) => again(error)?,
        }
        if line.len() > LINE_MAX {
            return Err(AskError::Answer(ProtocolError::TooLong { len: line.len() }));
        }
    }
    Ok(line)
}

/// Returns the remaining time, never zero: a zero timeout means "for ever".
fn time_left(deadline: Instant) -> Result<Duration, AskError> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
        .ok_or(AskError::TimedOut)
}

/// Returns to the loop after a timeout or a signal; the loop checks the deadline.
fn again(error: io::Error) -> Result<(), AskError> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => Ok(()),
        _ => Err(AskError::Broken(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;

    const LIMIT: Duration = Duration::from_secs(20);

    fn stamped() -> Vec<u8> {
        protocol::encode(&StampReply::Stamped).unwrap()
    }

    /// Accepts one connection, reads the request and writes `answer`, whole or not.
    fn serve_once(listener: &UnixListener, answer: &[u8]) -> Vec<u8> {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = Vec::new();
        io::BufReader::new(&stream)
            .read_until(b'\n', &mut question)
            .unwrap();
        stream.write_all(answer).unwrap();
        question
    }

    #[test]
    fn a_request_is_repeated_when_the_collector_dies() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let first = UnixListener::bind(&socket).unwrap();
        let asking = {
            let socket = socket.clone();
            thread::spawn(move || ask(&socket, b"question\n", LIMIT))
        };
        // Half an answer is not an answer.
        assert_eq!(serve_once(&first, b"{\"reply\":"), b"question\n");
        // As after a kill: the socket file exists without a process behind it, for longer than the grace.
        drop(first);
        thread::sleep(RESTART_GRACE * 2);
        fs::remove_file(&socket).unwrap();
        let second = UnixListener::bind(&socket).unwrap();
        assert_eq!(serve_once(&second, &stamped()), b"question\n");
        assert_eq!(asking.join().unwrap().unwrap(), StampReply::Stamped);
    }

    #[test]
    fn a_request_in_a_dead_backlog_is_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let stopped = UnixListener::bind(&socket).unwrap();
        let asking = {
            let socket = socket.clone();
            thread::spawn(move || ask(&socket, b"question\n", LIMIT))
        };
        stopped.set_nonblocking(true).unwrap();
        let taken = loop {
            match stopped.accept() {
                Ok((stream, _)) => break stream,
                Err(_) => thread::sleep(RETRY_EVERY),
            }
        };
        drop((stopped, taken));
        fs::remove_file(&socket).unwrap();
        let second = UnixListener::bind(&socket).unwrap();
        serve_once(&second, &stamped());
        assert_eq!(asking.join().unwrap().unwrap(), StampReply::Stamped);
    }

    #[test]
    fn where_no_collector_ever_was_a_login_waits_for_the_grace_only() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Instant::now();
        let answer = ask(&dir.path().join("agent.sock"), b"question\n", LIMIT);
        assert!(
            matches!(answer, Err(AskError::NobodyListens(_))),
            "{answer:?}"
        );
        assert!(asked.elapsed() < LIMIT / 2, "{:?}", asked.elapsed());
    }

    #[test]
    fn a_missing_collector_costs_no_more_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let limit = RESTART_GRACE * 2;
        let asked = Instant::now();
        let asking = thread::spawn(move || ask(&socket, b"question\n", limit));
        serve_once(&listener, b"");
        drop(listener);
        let answer = asking.join().unwrap();
        assert!(
            matches!(answer, Err(AskError::NobodyListens(_))),
            "{answer:?}"
        );
        // The last request may be the one that would pass the limit.
        assert!(asked.elapsed() + RETRY_EVERY * 2 > limit);
        assert!(asked.elapsed() < limit * 5, "{:?}", asked.elapsed());
    }

    #[test]
    fn a_refusal_is_an_answer_and_is_not_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let refused = StampReply::Refused {
            reason: "no".to_owned(),
        };
        let asking = thread::spawn(move || ask(&socket, b"question\n", LIMIT));
        serve_once(&listener, &protocol::encode(&refused).unwrap());
        assert_eq!(asking.join().unwrap().unwrap(), refused);
    }
}
