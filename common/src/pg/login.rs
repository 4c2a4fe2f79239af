//! The login of one connection: startup message, SCRAM with channel binding, and the check of the schema.
//!
//! tokio-postgres waits for each answer of a login. This login sends two messages at a time where [`Shortcuts`] allow it,
//! and then passes the server's messages to tokio-postgres, which reads them as new. It leaves every other way to
//! authenticate, and every refusal, to tokio-postgres.
//!
//! [`Shortcuts`]: super::Shortcuts

use std::io;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::backend::{DataRowBody, ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::compat::{self, Compat};

/// Highest size of a message, and of all messages that are kept. Those of Postgres have a few hundred bytes.
const KEPT_MAX: usize = 1 << 20;

/// A login to make.
pub(super) struct Login<'a> {
    /// Parameters of the startup message.
    pub(super) parameters: Vec<(&'a str, &'a str)>,
    pub(super) password: &'a [u8],
    /// Asks for the versions of the schema, too.
    pub(super) asks_versions: bool,
}

/// The end of a login.
#[derive(Debug)]
pub(super) enum Ended {
    /// tokio-postgres goes on with these messages of the server, after its startup message.
    Unfinished(Bytes),
    /// The server accepted the login and is ready.
    Ready {
        messages: Bytes,
        server_version: String,
        /// `None`: they were not asked for, or the server could not answer.
        compat: Option<Compat>,
    },
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
/// `end_point` is the hash of the server's certificate. Without one there is no channel binding, and tokio-postgres logs in.
///
/// # Errors
/// The connection broke, or the server is another one.
pub(super) async fn log_in<S>(
    stream: &mut S,
    login: &Login<'_>,
    end_point: Option<Vec<u8>>,
    at_once: bool,
) -> Result<Ended, LoginError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let scram = end_point.map(|hash| {
        let binding = ChannelBinding::tls_server_end_point(hash);
        ScramSha256::new(login.password, binding)
    });
    let at_once = at_once && scram.is_some();
    let mut server = ServerMessages::new(stream);
    let mut out = BytesMut::new();
    frontend::startup_message(login.parameters.iter().copied(), &mut out)?;
    if at_once && let Some(scram) = &scram {
        frontend::sasl_initial_response(SCRAM_SHA_256_PLUS, scram.message(), &mut out)?;
    }
    server.send(&out).await?;
    let first = server.next().await?;
    let mut scram = match (first, scram) {
        (Some(Message::AuthenticationSasl(offer)), Some(scram))
            if offer
                .mechanisms()
                .any(|name| Ok(name == SCRAM_SHA_256_PLUS))? =>
        {
            scram
        }
        (Some(Message::ErrorResponse(error)), _) => return refused(&error, &mut server, at_once),
        _ if at_once => return Err(not_ahead().into()),
        _ => return Ok(Ended::Unfinished(server.all())),
    };
    if !at_once {
        out.clear();
        frontend::sasl_initial_response(SCRAM_SHA_256_PLUS, scram.message(), &mut out)?;
        server.send(&out).await?;
    }
    // Only what follows is for tokio-postgres, as from a server that asks for no password.
    server.forget();
    let body = match server.next().await? {
        Some(Message::AuthenticationSaslContinue(body)) => body,
        Some(Message::ErrorResponse(error)) => return refused(&error, &mut server, at_once),
        None if at_once => return Err(closed().into()),
        None => return Ok(Ended::Unfinished(server.all())),
        Some(_) => return Err(left_scram().into()),
    };
    scram.update(body.data())?;
    out.clear();
    frontend::sasl_response(scram.message(), &mut out)?;
    // A pooler may lose a message behind the last one of a login. Nothing is sent ahead before a login has shown SCRAM
    // with the certificate of this server, and a pooler that came later costs the time limit once.
    let asks = at_once && login.asks_versions;
    if asks {
        frontend::query(compat::QUERY, &mut out)?;
    }
    server.send(&out).await?;
    server.forget();
    let body = match server.next().await? {
        Some(Message::AuthenticationSaslFinal(body)) => body,
        Some(Message::ErrorResponse(error)) => return refused(&error, &mut server, at_once),
        None if at_once => return Err(closed().into()),
        None => return Ok(Ended::Unfinished(server.all())),
        Some(_) => return Err(left_scram().into()),
    };
    scram.finish(body.data()).map_err(LoginError::Unproven)?;
    server.forget();
    let mut server_version = String::new();
    loop {
        match server.next().await? {
            Some(Message::ReadyForQuery(_)) => break,
            Some(Message::ParameterStatus(status)) if status.name()? == "server_version" => {
                status.value()?.clone_into(&mut server_version);
            }
            Some(Message::ErrorResponse(error)) => return refused(&error, &mut server, at_once),
            None if at_once => return Err(closed().into()),
            None => return Ok(Ended::Unfinished(server.all())),
            Some(_) => {}
        }
    }
    let mut messages = server.read.split();
    let compat = if asks {
        versions(&mut server).await?
    } else {
        None
    };
    messages.extend_from_slice(&server.unread);
    Ok(Ended::Ready {
        messages: messages.freeze(),
        server_version,
        compat,
    })
}

/// Leaves a refusal to tokio-postgres. But a proxy that cannot take what was sent ahead says that the protocol was violated.
fn refused<S>(
    error: &ErrorResponseBody,
    server: &mut ServerMessages<'_, S>,
    at_once: bool,
) -> Result<Ended, LoginError> {
    // Field `C` is the SQLSTATE; class 08 is about the connection.
    let is_about_connection = error
        .fields()
        .any(|field| Ok(field.type_() == b'C' && field.value_bytes().starts_with(b"08")))?;
    if at_once && is_about_connection {
        return Err(not_ahead().into());
    }
    Ok(Ended::Unfinished(server.all()))
}

/// The server does not take what was sent ahead. The connection is useless.
fn not_ahead() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "the server does not take a login that is sent ahead",
    )
}

fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the server closed the connection",
    )
}

/// A server that asked for SCRAM must not ask for the password, or accept the login without it.
fn left_scram() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the server asked for SCRAM and did not complete it",
    )
}

/// Reads the answer to [`compat::QUERY`].
async fn versions<S: AsyncRead + Unpin>(
    server: &mut ServerMessages<'_, S>,
) -> io::Result<Option<Compat>> {
    let mut compat = None;
    loop {
        server.forget();
        match server.next().await? {
            Some(Message::DataRow(row)) => compat = Some(Compat::of(&columns(&row)?)),
            // `compat::check` asks again, and reports the reason.
            Some(Message::ErrorResponse(_)) => compat = None,
            Some(Message::ReadyForQuery(_)) => return Ok(compat),
            Some(_) => {}
            None => return Err(closed()),
        }
    }
}

fn columns(row: &DataRowBody) -> io::Result<Vec<Option<&str>>> {
    let text = |range: Range<usize>| str::from_utf8(row.buffer().get(range)?).ok();
    row.ranges().map(|range| Ok(range.and_then(text))).collect()
}

/// The messages of the server.
struct ServerMessages<'a, S> {
    stream: &'a mut S,
    unread: BytesMut,
    /// Messages that were read since the last [`forget`](Self::forget).
    read: BytesMut,
}

impl<'a, S> ServerMessages<'a, S> {
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

impl<S: AsyncWrite + Unpin> ServerMessages<'_, S> {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}

impl<S: AsyncRead + Unpin> ServerMessages<'_, S> {
    /// Reads the next message; `None` at the end of the stream.
    async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(header) = Header::parse(&self.unread)? {
                let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
                if length > KEPT_MAX - self.read.len().min(KEPT_MAX) {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the server says too much during the login",
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

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    const OFFER: &[u8] = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    /// Reads the rest of a message that begins with its length.
    async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
        let length = stream.read_u32().await.unwrap();
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        stream.read_exact(&mut body).await.unwrap();
        body
    }

    async fn password_message(stream: &mut DuplexStream) -> String {
        assert_eq!(stream.read_u8().await.unwrap(), b'p');
        String::from_utf8_lossy(&rest(stream).await).into_owned()
    }

    async fn logged_in(mut stream: DuplexStream, at_once: bool) -> Result<Ended, LoginError> {
        let login = Login {
            parameters: vec![("user", "ann")],
            password: b"secret",
            asks_versions: true,
        };
        log_in(&mut stream, &login, Some(vec![7; 32]), at_once).await
    }

    #[tokio::test]
    async fn a_server_without_the_password_is_no_server_of_ours() {
        for at_once in [true, false] {
            let (ours, mut theirs) = duplex(4096);
            let server = async {
                rest(&mut theirs).await;
                theirs.write_all(&message(b'R', OFFER)).await.unwrap();
                let first = password_message(&mut theirs).await;
                let (_, nonce) = first.split_once("r=").unwrap();
                let challenge = format!("\0\0\0\x0br={nonce}more,s=AAAA,i=4096");
                // In pieces, as a slow line delivers it.
                for piece in message(b'R', challenge.as_bytes()).chunks(3) {
                    theirs.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                password_message(&mut theirs).await;
                let proof = message(b'R', b"\0\0\0\x0cv=AAAA");
                theirs.write_all(&proof).await.unwrap();
            };
            let (ended, ()) = tokio::join!(logged_in(ours, at_once), server);
            assert!(matches!(ended, Err(LoginError::Unproven(_))), "{ended:?}");
        }
    }

    #[tokio::test]
    async fn a_server_without_scram_is_left_to_tokio_postgres() {
        for (first, at_once) in [
            (message(b'R', b"\0\0\0\0"), true),
            (message(b'R', b"\0\0\0\x03"), true),
            (message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"), true),
            (message(b'R', b"\0\0\0\0"), false),
            (message(b'E', b"C53300\0\0"), true),
        ] {
            let (ours, mut theirs) = duplex(4096);
            theirs.write_all(&first).await.unwrap();
            let ended = logged_in(ours, at_once).await;
            match ended {
                Err(LoginError::Io(_)) => assert!(at_once && first[0] == b'R'),
                Ok(Ended::Unfinished(messages)) => assert_eq!(&messages[..], first),
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_server_that_leaves_scram_is_refused() {
        // An accepted login, and a request for the password itself.
        for answer in [b"\0\0\0\0", b"\0\0\0\x03"] {
            let (ours, mut theirs) = duplex(4096);
            theirs.write_all(&message(b'R', OFFER)).await.unwrap();
            theirs.write_all(&message(b'R', answer)).await.unwrap();
            let ended = logged_in(ours, true).await;
            assert!(matches!(ended, Err(LoginError::Io(_))), "{ended:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_cannot_take_what_was_sent_ahead_is_noticed() {
        let refusal = message(b'E', b"SFATAL\0C08P01\0Munexpected message\0\0");
        let offer = message(b'R', OFFER);
        for (offer, answer, at_once) in [
            (&offer[..], &refusal[..], true),
            (&offer, &refusal, false),
            (&offer, b"", true),
            (b"", &refusal, true),
            (b"", &refusal, false),
        ] {
            let (ours, mut theirs) = duplex(4096);
            theirs.write_all(offer).await.unwrap();
            theirs.write_all(answer).await.unwrap();
            // As close_notify of TLS does.
            theirs.shutdown().await.unwrap();
            let ended = logged_in(ours, at_once).await;
            match (ended, answer) {
                (Err(LoginError::Io(_)), _) => assert!(at_once),
                (Ok(Ended::Unfinished(messages)), [b'E', ..]) => {
                    assert!(!at_once && messages == answer);
                }
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_message_without_end_is_refused() {
        for length in [1 << 21, u32::MAX >> 1, u32::MAX, 3] {
            let (ours, mut theirs) = duplex(4096);
            let header = [&b"R"[..], &length.to_be_bytes()].concat();
            theirs.write_all(&header).await.unwrap();
            let ended = logged_in(ours, false).await;
            assert!(matches!(ended, Err(LoginError::Io(_))), "{ended:?}");
        }
    }
}
