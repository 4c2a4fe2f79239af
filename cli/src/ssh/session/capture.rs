//! A command without a terminal and without input, whose output goes to the caller instead of standard output.

use std::pin::Pin;
use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::time::{Instant, sleep_until, timeout};

use super::status;
use super::{Work, ask};
use crate::ssh::error::SshError;
use crate::ssh::hop::Connection;

/// Time for the remote command to end after SIGTERM, and again after SIGKILL. Both together are less than a second,
/// after which a client may expect the end.
const GRACE: Duration = Duration::from_millis(300);

/// Longest wait to send a signal to a host that accepts no data.
const SEND: Duration = Duration::from_millis(100);

/// The streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

/// End of a captured command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CaptureEnd {
    /// Exit status as in a shell.
    Exited(u8),
    /// The server closed the channel without a status.
    Silent,
    /// The caller stopped the command.
    Stopped { why: String, state: CommandState },
}

/// State of a stopped command at its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandState {
    /// The host did not get the command.
    NotStarted,
    /// The host reported the end of the command.
    Ended,
    /// The host has the command and did not report its end.
    Unknown,
}

/// Runs a command to its end, or until `stop` returns the reason to stop it.
pub(crate) async fn capture(
    connection: &Connection,
    command: &[u8],
    output: &mut impl FnMut(OutputStream, &[u8]),
    mut stop: Pin<&mut impl Future<Output = String>>,
) -> Result<CaptureEnd, SshError> {
    let channel = tokio::select! {
        opened = connection.open_session() => opened?,
        why = &mut stop => {
            let state = CommandState::NotStarted;
            return Ok(CaptureEnd::Stopped { why, state });
        }
    };
    // From here on, only the host knows whether the command runs.
    let (mut incoming, outgoing, mut asked) = start(connection, channel, command).await?;
    let (mut end, mut is_closed) = (None, true);
    let mut stopping: Option<Stopping> = None;
    loop {
        let deadline = stopping.as_ref().map(|stopping| stopping.deadline);
        let next_step = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = incoming.wait() => match message {
                Some(ChannelMsg::Data { data }) => output(OutputStream::Stdout, &data),
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => output(OutputStream::Stderr, &data),
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    end = Some(CaptureEnd::Exited(status::of_exit(exit_status)));
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    end = Some(CaptureEnd::Exited(status::of_signal(&signal_name)));
                }
                Some(ChannelMsg::Success) => drop(asked.pop()),
                Some(ChannelMsg::Failure) => {
                    let host = connection.host().to_owned();
                    let what = asked.pop().unwrap_or("a request");
                    return Err(SshError::RequestRefused { host, what });
                }
                None | Some(ChannelMsg::Close) => break,
                Some(_) => {}
            },
            why = &mut stop, if stopping.is_none() => {
                send(&outgoing, Sig::TERM).await;
                stopping = Some(Stopping { why, killed: false, deadline: Instant::now() + GRACE });
            }
            () = next_step => match &mut stopping {
                Some(stopping) if !stopping.killed => {
                    send(&outgoing, Sig::KILL).await;
                    stopping.killed = true;
                    stopping.deadline = Instant::now() + GRACE;
                }
                _ => {
                    is_closed = false;
                    break;
                }
            },
        }
    }
    match (stopping, end) {
        (Some(Stopping { why, .. }), end) => {
            // Without a status, the connection broke: that proves nothing.
            let state = if is_closed && end.is_some() {
                CommandState::Ended
            } else {
                CommandState::Unknown
            };
            Ok(CaptureEnd::Stopped { why, state })
        }
        (None, Some(end)) => Ok(end),
        (None, None) if connection.is_closed() => Err(connection.lost(russh::Error::Disconnect)),
        (None, None) => Ok(CaptureEnd::Silent),
    }
}

/// A command that was asked to end.
struct Stopping {
    why: String,
    killed: bool,
    deadline: Instant,
}

type Started = (ChannelReadHalf, ChannelWriteHalf<Msg>, Vec<&'static str>);

/// Sends the command, which has no input: a program that reads it must not wait.
async fn start(
    connection: &Connection,
    channel: Channel<Msg>,
    command: &[u8],
) -> Result<Started, SshError> {
    let (incoming, outgoing) = channel.split();
    let work = Work {
        command: Some(command.to_vec()),
        pty: false,
        agent_forwarding: false,
    };
    let asked = ask(connection, &outgoing, &work).await?;
    let ended = outgoing.eof().await;
    ended.map_err(|source| connection.lost(source))?;
    Ok((incoming, outgoing, asked))
}

/// Sends a signal. A failure means that the connection is over.
async fn send(outgoing: &ChannelWriteHalf<Msg>, signal: Sig) {
    let _ = timeout(SEND, outgoing.signal(signal)).await;
}
