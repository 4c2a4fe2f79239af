//! The agent socket in the configuration of `ssh`: it connects each `ssh` with its proxy.
//!
//! The configuration of `ssh` can name only one agent socket, not one per connection. So this process listens there,
//! reads which session the request is for, and relays the rest to the proxy that has seen the same signature. It has no
//! key, token or state. If it is killed, only a login in progress fails, and the next proxy starts a new one.

use std::env;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::unistd::setsid;
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, interval, sleep, timeout};
use vctl_common::file_lock::Tried;

use super::message::{self, Answer, Request};
use super::socket_dir::{Listener, SocketDir, answers};

/// Time limit for the start of the process.
const START: Duration = Duration::from_secs(5);
/// Time limit for the first request of a client.
const FIRST_WORD: Duration = Duration::from_mins(1);

/// When the process ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// Interval of the check whether any proxy is left.
    pub(crate) look: Duration,
    /// Time to stay after the last login on a file system without locks, where proxies cannot be detected.
    pub(crate) linger: Duration,
}

impl Default for Ending {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(15),
            linger: Duration::from_mins(30),
        }
    }
}

/// Starts the process unless it runs. The proxy must have entered the directory: until it leaves, a running process
/// does not end.
pub(super) fn call(place: &SocketDir) -> io::Result<()> {
    if answers(&place.agent()) {
        return Ok(());
    }
    // Not waited for: the process outlives this one.
    Command::new(env::current_exe()?)
        .arg("ssh-agent")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(())
}

/// Waits until the process listens.
pub(super) async fn wait(place: &SocketDir) -> io::Result<()> {
    let until = Instant::now() + START;
    while !answers(&place.agent()) {
        if Instant::now() > until {
            return Err(io::Error::other("`vctl ssh-agent` does not start"));
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Serves until no proxy is left. Returns at once if another process serves.
pub(crate) async fn run(place: &SocketDir, ending: Ending) -> io::Result<()> {
    // Detaches from the terminal of the caller; fails if this process is a group leader already.
    let _ = setsid();
    let Some(own) = place.lock_agent()? else {
        return Ok(());
    };
    let listener = Listener::at(&place.agent())?;
    let mut asked = Instant::now();
    let mut look = interval(ending.look);
    look.tick().await;
    loop {
        tokio::select! {
            stream = listener.next() => {
                let place = place.clone();
                asked = Instant::now();
                tokio::spawn(async move { connect(stream, &place).await });
            }
            _ = look.tick() => match place.close()? {
                (closed, Tried::Taken) => {
                    drop(listener);
                    let swept = place.sweep();
                    // New proxies wait until now, and must find no process listening.
                    drop(own);
                    drop(closed);
                    return swept;
                }
                // Each proxy checks for this process when it starts, and soon logs in.
                (_, Tried::Unsupported) if asked.elapsed() > ending.linger => return Ok(()),
                _ => {}
            }
        }
    }
}

/// Reads which session the client's requests are for, and then only relays.
async fn connect(mut stream: UnixStream, place: &SocketDir) -> io::Result<()> {
    while let Some(frame) = timeout(FIRST_WORD, message::read(&mut stream)).await?? {
        let answer = match Request::parse(&frame) {
            Request::Bind(binding) => {
                let path = place.proxy(&binding.signature);
                if let Ok(mut proxy) = UnixStream::connect(path).await {
                    message::write(&mut proxy, &frame).await?;
                    copy_bidirectional(&mut stream, &mut proxy).await?;
                    return Ok(());
                }
                Answer::Failure
            }
            Request::Identities => Answer::Identities(Vec::new()),
            _ => Answer::Failure,
        };
        message::answer(&mut stream, &answer).await?;
    }
    Ok(())
}
