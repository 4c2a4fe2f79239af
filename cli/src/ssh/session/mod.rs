//! The session on the host: a shell or a command, with a terminal or with pipes.

mod capture;
mod escape;
mod modes;
mod pipes;
mod signals;
mod status;
mod terminal;
mod typed;

use std::cell::RefCell;
use std::io::IsTerminal as _;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};

use self::escape::{Escapes, Event};
use self::terminal::{RawMode, Size};
use self::typed::{Room, Typed};
use super::error::SshError;
use super::hop::Connection;
use crate::ui::notice;

pub(crate) use capture::{CaptureEnd, CommandState, OutputStream, capture};
pub(crate) use pipes::{Input, Output, WriteError, relay};
pub(crate) use signals::{Signal, Signals};
pub(crate) use terminal::PtyWish;

/// The requested session.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// Without a command, the login shell runs.
    pub(crate) command: Option<Vec<u8>>,
    pub(crate) pty: bool,
    pub(crate) agent_forwarding: bool,
}

/// End of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit status as in a shell: the status, or 128 plus the number of a signal.
    Exited(u8),
    /// The server closed the channel without a status.
    Silent,
    /// The user ended the connection with an escape.
    Closed,
    /// This signal ended vctl.
    Signalled(i32),
    /// The reader of standard output is gone.
    ReaderGone,
}

/// Runs the session to its end.
pub(crate) async fn run(
    connection: &Connection,
    work: &Work,
    signals: &Signals,
) -> Result<Outcome, SshError> {
    let starting = async {
        let channel = connection.open_session().await?;
        let (incoming, outgoing) = channel.split();
        let asked = ask(connection, &outgoing, work).await?;
        Ok::<_, SshError>((incoming, outgoing, asked))
    };
    // A host that hangs may block this, and signals must still end vctl.
    let (incoming, outgoing, asked) = tokio::select! {
        started = starting => started?,
        number = signals.end() => return Ok(Outcome::Signalled(number)),
    };
    // From here on the terminal is controlled by the host.
    let raw = work.pty.then(RawMode::enter).and_then(Result::ok);
    let session = Session {
        connection,
        outgoing,
        asked: RefCell::new(asked),
        pty: work.pty,
    };
    let done = tokio::select! {
        done = session.bring_home(incoming) => done,
        // The end of the input is not the end of the session: output continues.
        () = session.send_input() => Ok(Outcome::Closed),
        outcome = session.heed(signals) => Ok(outcome),
    };
    drop(raw);
    done
}

/// Sends all requests without waiting for replies in between. Returns the requests with expected replies, the last
/// first.
async fn ask(
    connection: &Connection,
    channel: &ChannelWriteHalf<Msg>,
    work: &Work,
) -> Result<Vec<&'static str>, SshError> {
    let asking = async {
        let mut asked = Vec::new();
        if work.agent_forwarding {
            channel.agent_forward(true).await?;
            asked.push("to forward the agent");
        }
        if work.pty {
            let Size {
                columns,
                rows,
                width,
                height,
            } = Size::of_terminal();
            let modes = modes::of_terminal();
            channel
                .request_pty(
                    true,
                    &terminal::term(),
                    columns,
                    rows,
                    width,
                    height,
                    &modes,
                )
                .await?;
            asked.push("a terminal");
        }
        for (name, value) in terminal::locale() {
            // Servers usually ignore unwanted variables without a reply.
            channel.set_env(false, name, value).await?;
        }
        if let Some(command) = &work.command {
            channel.exec(true, command.clone()).await?;
            asked.push("to run the command");
        } else {
            channel.request_shell(true).await?;
            asked.push("a shell");
        }
        // Replies come in order, and the list is popped from its end.
        asked.reverse();
        Ok(asked)
    };
    asking.await.map_err(|source| connection.lost(source))
}

struct Session<'a> {
    connection: &'a Connection,
    outgoing: ChannelWriteHalf<Msg>,
    asked: RefCell<Vec<&'static str>>,
    pty: bool,
}

impl Session<'_> {
    /// Prints the output, until the server closes the channel.
    async fn bring_home(&self, mut incoming: ChannelReadHalf) -> Result<Outcome, SshError> {
        let (mut out, mut err) = (Output::stdout(), Output::stderr());
        let mut outcome = None;
        while let Some(message) = incoming.wait().await {
            let written = match message {
                ChannelMsg::Data { data } => out.write(data).await,
                ChannelMsg::ExtendedData { data, ext: 1 } => err.write(data).await,
                ChannelMsg::ExitStatus { exit_status } => {
                    outcome = Some(Outcome::Exited(status::of_exit(exit_status)));
                    Ok(())
                }
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    outcome = Some(Outcome::Exited(status::of_signal(&signal_name)));
                    Ok(())
                }
                ChannelMsg::Success => {
                    self.asked.borrow_mut().pop();
                    Ok(())
                }
                ChannelMsg::Failure => {
                    let what = self.asked.borrow_mut().pop();
                    match self.refused(what.unwrap_or("a request")) {
                        Some(error) => return Err(error),
                        None => Ok(()),
                    }
                }
                // The channel is closed on our side when this loop ends.
                ChannelMsg::Close => break,
                _ => Ok(()),
            };
            match written {
                Ok(()) => {}
                Err(WriteError::ReaderGone) => return Ok(Outcome::ReaderGone),
                Err(WriteError::Failed(source)) => return Err(SshError::Output { source }),
            }
        }
        // All output is written before the status is returned.
        match out.finish().await {
            // The status is known, and matters more.
            Ok(()) | Err(WriteError::ReaderGone) if outcome.is_some() => {}
            Ok(()) => {}
            Err(WriteError::ReaderGone) => return Ok(Outcome::ReaderGone),
            Err(WriteError::Failed(source)) => return Err(SshError::Output { source }),
        }
        // If standard error is incomplete, success must not be reported.
        let says_success = matches!(outcome, Some(Outcome::Exited(0)) | None);
        if let (Err(WriteError::Failed(source)), true) = (err.finish().await, says_success) {
            return Err(SshError::Output { source });
        }
        match outcome {
            Some(outcome) => Ok(outcome),
            None if self.connection.is_closed() => {
                Err(self.connection.lost(russh::Error::Disconnect))
            }
            None => Ok(Outcome::Silent),
        }
    }

    /// Handles a refused request. Returns an error if the session cannot continue; it can without a terminal or agent.
    fn refused(&self, what: &'static str) -> Option<SshError> {
        if what == "a shell" || what == "to run the command" {
            let host = self.connection.host().to_owned();
            return Some(SshError::RequestRefused { host, what });
        }
        notice::note(&format!("`{}` refused {what}", self.connection.host()));
        None
    }

    /// Sends standard input. Ends only when the user ends the connection.
    async fn send_input(&self) {
        let mut input = Input::stdin();
        if self.pty {
            // Input of a file or a program is never dropped: it waits.
            let typed = Typed::new(std::io::stdin().is_terminal());
            return tokio::select! {
                () = self.read_typed(input, &typed) => {}
                () = self.send_typed(&typed) => {}
            };
        }
        while let Some(piece) = input.next().await {
            if self.outgoing.data_bytes(piece).await.is_err() {
                return std::future::pending().await;
            }
        }
        let _ = self.outgoing.eof().await;
        std::future::pending::<()>().await;
    }

    /// Reads the terminal even while the host accepts no input. Ends when the user ends the connection.
    async fn read_typed(&self, mut input: Input, typed: &Typed) {
        let mut escapes = Escapes::default();
        while let Some(piece) = input.next().await {
            for event in escapes.feed(&piece) {
                match event {
                    Event::Data(data) => {
                        if typed.push(&data).await == Room::Lost {
                            let host = self.connection.host();
                            notice::note(&format!(
                                "`{host}` accepts no input, so further input is lost; `~.` ends the connection"
                            ));
                        }
                    }
                    Event::Disconnect => return,
                    Event::Help => terminal::show(escape::HELP),
                    Event::Suspend => terminal::suspend(),
                }
            }
        }
        typed.end();
        std::future::pending::<()>().await;
    }

    async fn send_typed(&self, typed: &Typed) {
        while let Some(piece) = typed.next().await {
            let length = piece.len();
            if self.outgoing.data_bytes(piece).await.is_err() {
                return std::future::pending().await;
            }
            typed.sent(length);
        }
        let _ = self.outgoing.eof().await;
        std::future::pending::<()>().await;
    }

    /// Handles signals. Returns when a signal ends vctl.
    async fn heed(&self, signals: &Signals) -> Outcome {
        loop {
            let signal = signals.next().await;
            match signal {
                Signal::Resumed | Signal::Resized => {
                    if self.pty {
                        if signal == Signal::Resumed {
                            terminal::resume();
                        }
                        // A host that hangs may block this, and signals must still end vctl.
                        tokio::select! {
                            () = self.send_size() => {}
                            number = signals.end() => return self.end(number, signals).await,
                        }
                    }
                }
                Signal::End(number) => return self.end(number, signals).await,
            }
        }
    }

    /// Sends the size of the terminal, and repeats that if it changed in between.
    async fn send_size(&self) {
        loop {
            let size = Size::of_terminal();
            let Size {
                columns,
                rows,
                width,
                height,
            } = size;
            let _ = self
                .outgoing
                .window_change(columns, rows, width, height)
                .await;
            if Size::of_terminal() == size {
                return;
            }
        }
    }

    async fn end(&self, number: i32, signals: &Signals) -> Outcome {
        let tell = async {
            let _ = self.outgoing.signal(status::name(number)).await;
            std::future::pending::<()>().await;
        };
        // The command gets time to clean up; its own status is preferred.
        tokio::select! {
            () = tell => {}
            () = tokio::time::sleep(signals::GRACE) => {}
            _ = signals.end() => {}
        }
        Outcome::Signalled(number)
    }
}
