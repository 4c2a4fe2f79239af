//! The login of one connection: startup message, SCRAM with channel binding, and the check of the schema.
//!
//! tokio-postgres waits for each answer of a login. This login sends two messages at a time where [`Shortcuts`] allow it,
//! and then hands the server's words to tokio-postgres, as if they came only now. It leaves every other way to
//! authenticate, and every refusal, to tokio-postgres.
//!
//! [`Shortcuts`]: super::Shortcuts

use std::io;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::backend::{DataRowBody, Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::compat::{self, Compat};

/// Highest size of a message during a login. The server's own are below a kilobyte.
const MESSAGE_MAX: usize = 1 << 20;

/// A login to make.
pub(super) struct Login<'a> {
    /// Parameters of the startup message.
    pub(super) parameters: Vec<(&'a str, &'a str)>,
    pub(super) password: &'a [u8],
    /// Asks for the versions of the schema, too.
    pub(super) asks_versions: bool,
    /// Hash of the server's certificate; without one, there is no channel binding.
    pub(super) end_point: Option<Vec<u8>>,
}

/// The end of a login.
#[derive(Debug)]
pub(super) enum Ended {
    /// These words of the server are for tokio-postgres, after its startup message.
    Said(Bytes),
    /// The server accepted the login and is ready.
    Ready {
        said: Bytes,
        server_version: String,
        /// `None`: they were not asked for, or the server could not answer.
        compat: Option<Compat>,
    },
    /// The server does not ask for SCRAM with channel binding, but its first message is sent. The connection is useless.
    NoScram,
}

/// A login that broke.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server does not know the password either: it is not the one that the login belongs to.
    #[error("the server did not prove that it knows the password")]
    Unproven(#[source] io::Error),
}

/// Logs in on a new stream. With `at_once`, no step waits for an answer that it does not need.
///
/// # Errors
/// The connection broke, or the server is another one.
pub(super) async fn log_in<S>(
    stream: &mut S,
    login: &Login<'_>,
    at_once: bool,
) -> Result<Ended, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let scram = login.end_point.clone().map(|hash| {
        let binding = ChannelBinding::tls_server_end_point(hash);
        ScramSha256::new(login.password, binding)
    });
    let at_once = at_once && scram.is_some();
    let mut words = Words::new(stream);
    let mut out = BytesMut::new();
    frontend::startup_message(login.parameters.iter().copied(), &mut out)?;
    if at_once && let Some(scram) = &scram {
        frontend::sasl_initial_response(SCRAM_SHA_256_PLUS, scram.message(), &mut out)?;
    }
    words.send(&out).await?;
    let first = words.next().await?;
    let mut scram = match (first, scram) {
        (Some(Message::AuthenticationSasl(offer)), Some(scram))
            if offer
                .mechanisms()
                .any(|name| Ok(name == SCRAM_SHA_256_PLUS))? =>
        {
            scram
        }
        (Some(Message::ErrorResponse(_)), _) => return Ok(Ended::Said(words.all())),
        _ if at_once => return Ok(Ended::NoScram),
        _ => return Ok(Ended::Said(words.all())),
    };
    if !at_once {
        out.clear();
        frontend::sasl_initial_response(SCRAM_SHA_256_PLUS, scram.message(), &mut out)?;
        words.send(&out).await?;
    }
    // Only what follows is for tokio-postgres, as from a server that asks for no password.
    words.forget();
    let Some(Message::AuthenticationSaslContinue(body)) = words.next().await? else {
        return Ok(Ended::Said(words.all()));
    };
    scram.update(body.data())?;
    out.clear();
    frontend::sasl_response(scram.message(), &mut out)?;
    // A pooler may lose a message behind the last one of a login; a server showed before that it is none.
    let asks = at_once && login.asks_versions;
    if asks {
        frontend::query(compat::QUERY, &mut out)?;
    }
    words.send(&out).await?;
    words.forget();
    let Some(Message::AuthenticationSaslFinal(body)) = words.next().await? else {
        return Ok(Ended::Said(words.all()));
    };
    scram.finish(body.data()).map_err(LoginError::Unproven)?;
    words.forget();
    let mut server_version = String::new();
    loop {
        match words.next().await? {
            Some(Message::ReadyForQuery(_)) => break,
            Some(Message::ParameterStatus(status)) if status.name()? == "server_version" => {
                status.value()?.clone_into(&mut server_version);
            }
            Some(Message::ErrorResponse(_)) | None => return Ok(Ended::Said(words.all())),
            Some(_) => {}
        }
    }
    let mut said = words.read.split();
    let compat = if asks {
        versions(&mut words).await?
    } else {
        None
    };
    said.extend_from_slice(&words.unread);
    Ok(Ended::Ready {
        said: said.freeze(),
        server_version,
        compat,
    })
}

/// Reads the answer to [`compat::QUERY`].
async fn versions<S: AsyncRead + Unpin>(words: &mut Words<'_, S>) -> io::Result<Option<Compat>> {
    let mut compat = None;
    loop {
        match words.next().await? {
            Some(Message::DataRow(row)) => compat = Some(Compat::of(&columns(&row)?)),
            // The server says the reason again when it is asked again.
            Some(Message::ErrorResponse(_)) => compat = None,
            Some(Message::ReadyForQuery(_)) => return Ok(compat),
            Some(_) => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn columns(row: &DataRowBody) -> io::Result<Vec<Option<&str>>> {
    let text = |range: Range<usize>| str::from_utf8(row.buffer().get(range)?).ok();
    row.ranges().map(|range| Ok(range.and_then(text))).collect()
}

/// The messages of the server.
struct Words<'a, S> {
    stream: &'a mut S,
    unread: BytesMut,
    /// Messages that were read since the last [`forget`](Self::forget).
    read: BytesMut,
}

impl<'a, S> Words<'a, S> {
    fn new(stream: &'a mut S) -> Self {
        Self {
            stream,
            unread: BytesMut::new(),
            read: BytesMut::new(),
        }
    }

    fn forget(&mut self) {
        self.read.clear();
    }

    /// Takes the messages since the last [`forget`](Self::forget), and what came after them.
    fn all(&mut self) -> Bytes {
        self.read.unsplit(self.unread.split());
        self.read.split().freeze()
    }
}

impl<S: AsyncWrite + Unpin> Words<'_, S> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}

impl<S: AsyncRead + Unpin> Words<'_, S> {
    /// Reads the next message; `None` at the end of the stream.
    async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(header) = Header::parse(&self.unread)? {
                let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
                if length > MESSAGE_MAX {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a message of the login is too long",
                    ));
                }
                // The length does not count the tag.
                if self.unread.len() > length {
                    let mut message = self.unread.split_to(length + 1);
                    self.read.extend_from_slice(&message);
                    return Message::parse(&mut message);
                }
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Ok(None);
            }
        }
    }
}
