//! The messages between `ssh` and its agent, as far as vctl uses them.
//!
//! draft-ietf-sshm-ssh-agent, and `session-bind@openssh.com` of OpenSSH's PROTOCOL.agent.
//!
//! The crate `ssh-agent-lib` (0.6) was examined. It is built on `ssh-key` 0.6, while russh is on 0.7, so vctl would
//! have two sets of key types and the older RustCrypto beside the newer. It also decodes each host key and signature,
//! where this agent compares the bytes of the signature with those that the proxy saw.

use std::io;

use russh::keys::ssh_encoding::{Decode as _, Encode as _, Reader as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// OpenSSH's limit for a message.
const MOST: u32 = 256 << 10;

const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
const EXTENSION: u8 = 27;
const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_RESPONSE: u8 = 14;
const USERAUTH_REQUEST: u8 = 50;

/// A request to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Bind(Binding),
    Identities,
    Sign {
        key: Vec<u8>,
        data: Vec<u8>,
    },
    /// An unsupported request.
    Other,
}

/// The connection that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// The host's key or certificate.
    pub(super) host_key: Vec<u8>,
    pub(super) session: Vec<u8>,
    /// The host's signature over the session.
    pub(super) signature: Vec<u8>,
    /// The request comes through agent forwarding, not from the connecting client.
    pub(super) forwarded: bool,
}

/// The data that is signed for a login: RFC 4252, section 7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) session: Vec<u8>,
    pub(super) user: String,
    pub(super) key: Vec<u8>,
}

impl Request {
    pub(super) fn parse(frame: &[u8]) -> Self {
        Self::understand(frame).unwrap_or(Self::Other)
    }

    fn understand(mut frame: &[u8]) -> Option<Self> {
        let rest = &mut frame;
        match u8::decode(rest).ok()? {
            REQUEST_IDENTITIES => Some(Self::Identities),
            SIGN_REQUEST => Some(Self::Sign {
                key: Vec::decode(rest).ok()?,
                data: Vec::decode(rest).ok()?,
            }),
            EXTENSION if String::decode(rest).ok()? == "session-bind@openssh.com" => {
                let binding = Binding {
                    host_key: Vec::decode(rest).ok()?,
                    session: Vec::decode(rest).ok()?,
                    signature: Vec::decode(rest).ok()?,
                    forwarded: u8::decode(rest).ok()? != 0,
                };
                rest.is_finished().then_some(Self::Bind(binding))
            }
            _ => None,
        }
    }
}

impl Login {
    /// Parses data to be signed; `None` if it is not for a login.
    pub(super) fn parse(mut data: &[u8]) -> Option<Self> {
        let rest = &mut data;
        let session = Vec::decode(rest).ok()?;
        if u8::decode(rest).ok()? != USERAUTH_REQUEST {
            return None;
        }
        let user = String::decode(rest).ok()?;
        if String::decode(rest).ok()? != "ssh-connection" {
            return None;
        }
        let method = String::decode(rest).ok()?;
        if u8::decode(rest).ok()? != 1 {
            return None;
        }
        let _algorithm = String::decode(rest).ok()?;
        let key = Vec::decode(rest).ok()?;
        match &*method {
            "publickey" => {}
            // The same, followed by the host's key.
            "publickey-hostbound-v00@openssh.com" => drop(Vec::<u8>::decode(rest).ok()?),
            _ => return None,
        }
        rest.is_finished().then_some(Self { session, user, key })
    }
}

/// An answer of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Failure,
    Success,
    /// Blobs of keys, each with a comment.
    Identities(Vec<(Vec<u8>, String)>),
    Signature(Vec<u8>),
}

impl Answer {
    fn encode(&self) -> Result<Vec<u8>, russh::keys::ssh_encoding::Error> {
        let mut out = Vec::new();
        match self {
            Self::Failure => FAILURE.encode(&mut out)?,
            Self::Success => SUCCESS.encode(&mut out)?,
            Self::Identities(keys) => {
                IDENTITIES_ANSWER.encode(&mut out)?;
                keys.len().encode(&mut out)?;
                for (key, comment) in keys {
                    key.encode(&mut out)?;
                    comment.encode(&mut out)?;
                }
            }
            Self::Signature(signature) => {
                SIGN_RESPONSE.encode(&mut out)?;
                signature.encode(&mut out)?;
            }
        }
        Ok(out)
    }
}

/// Reads a message; `None` at the end of the stream.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u32().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = Vec::new();
    stream.take(length.into()).read_to_end(&mut frame).await?;
    if frame.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(frame))
}

/// Writes a message unchanged.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let mut out = Vec::with_capacity(4 + frame.len());
    let encoded = frame.encode(&mut out);
    encoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    stream.write_all(&out).await
}

pub(super) async fn answer(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: &Answer,
) -> io::Result<()> {
    let frame = answer.encode();
    let frame =
        frame.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    write(stream, &frame).await
}
