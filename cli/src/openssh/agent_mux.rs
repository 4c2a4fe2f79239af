//! The socket that `ssh` is told of: it connects each `ssh` with its proxy.
//!
//! `ssh` can be told of one agent only, before it runs, and of none per connection. So this listens
//! there, hears whose session is asked for, and carries the rest to and from the proxy that has seen the
//! same signature. It has no key, no token and no state: whoever kills it costs a login that is just going
//! on, and the next proxy starts another.

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
use super::socket_dir::{Listener, MeetingPlace, answers};

/// How long a proxy waits for one that it started.
const START: Duration = Duration::from_secs(5);
/// `ssh` says what it wants at once. Whoever does not is not kept.
const FIRST_WORD: Duration = Duration::from_mins(1);

/// When it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// How often it looks whether a proxy is still there.
    pub(crate) look: Duration,
    /// How long it stays after the last login, where no lock says whether a proxy is there.
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

/// Starts one, where there is none. A proxy must have entered the meeting place: until it leaves, one
/// that is there stays.
pub(super) fn call(place: &MeetingPlace) -> io::Result<()> {
    if answers(&place.agent()) {
        return Ok(());
    }
    // Waited for by nobody: it outlives us, and the system takes what is left of it.
    Command::new(env::current_exe()?)
        .arg("ssh-agent")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(())
}

/// Waits until there is one.
pub(super) async fn wait(place: &MeetingPlace) -> io::Result<()> {
    let until = Instant::now() + START;
    while !answers(&place.agent()) {
        if Instant::now() > until {
            return Err(io::Error::other("`vctl ssh-agent` does not start"));
        }
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Serves until no proxy is there any more; at once done when another does.
pub(crate) async fn run(place: &MeetingPlace, ending: Ending) -> io::Result<()> {
    // The terminal of whoever started it is no longer ours; where it is our own, that fails.
    let _ = setsid();
    let Some(own) = place.be_the_switchboard()? else {
        return Ok(());
    };
    let listener = Listener::at(&place.agent())?;
    let mut asked = Instant::now();
    let mut look = interval(ending.look);
    look.tick().await;
    loop {
        tokio::select! {
            stream = listener.accept() => {
                let (stream, place) = (stream?, place.clone());
                asked = Instant::now();
                tokio::spawn(async move { connect(stream, &place).await });
            }
            _ = look.tick() => match place.close()? {
                (closed, Tried::Taken) => {
                    drop(listener);
                    let swept = place.sweep();
                    // New proxies wait until now, and what they start must find nobody.
                    drop(own);
                    drop(closed);
                    return swept;
                }
                // Each proxy asks whether we are there when it starts, and soon logs in.
                (_, Tried::Unsupported) if asked.elapsed() > ending.linger => return Ok(()),
                _ => {}
            }
        }
    }
}

/// Hears whose session is asked for, and from then on only carries.
async fn connect(mut stream: UnixStream, place: &MeetingPlace) -> io::Result<()> {
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
