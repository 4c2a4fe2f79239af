//! What the stamper and the collector say to each other: one JSON line each way.

use serde::{Deserialize, Serialize};
use vctl_common::id::SessionId;
use vctl_common::time::BootNs;

/// Changes whenever a line does. The two sides are one binary, but during an upgrade a stamper of
/// one version meets a collector of another.
pub const VERSION: u32 = 1;

/// Most bytes of a line: the certificate at its cap, every byte of it escaped, and the rest.
pub const LINE_MAX: usize = 128 * 1024;

/// A login that asks to be stamped. Everything in it was said by the client, by PAM or by the
/// hook; who the login process is, the collector asks the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampRequest {
    pub version: u32,
    pub session_id: SessionId,
    pub pam_type: String,
    pub service: String,
    pub user: String,
    pub rhost: Option<String>,
    pub tty: Option<String>,
    /// `SSH_AUTH_INFO_0` as sshd set it.
    pub auth_info: Option<String>,
    /// `client-ip client-port server-ip server-port`.
    pub ssh_connection: Option<String>,
    pub hook_started: BootNs,
    pub hook_pid: u32,
    /// Only in a marker: strict mode let the user in because of the group.
    pub break_glass: bool,
}

/// The collector's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum StampReply {
    /// The kernel knows the login and the spool holds it.
    Stamped,
    Refused {
        reason: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    #[error("line of {len} bytes is longer than {LINE_MAX}")]
    TooLong { len: usize },
    #[error("line is not a message of the stamp protocol")]
    Malformed(#[source] serde_json::Error),
    #[error("stamp protocol version {theirs} meets version {VERSION}")]
    Version { theirs: u32 },
}

/// Returns the line for a message, its newline included.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, ProtocolError> {
    let mut line = serde_json::to_vec(message).map_err(ProtocolError::Malformed)?;
    line.push(b'\n');
    if line.len() > LINE_MAX {
        return Err(ProtocolError::TooLong { len: line.len() });
    }
    Ok(line)
}

/// Reads a request from its line, with or without the newline.
pub fn decode_request(line: &[u8]) -> Result<StampRequest, ProtocolError> {
    /// Read first: what the other fields mean depends on it.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = decode(line)?;
    if version != VERSION {
        return Err(ProtocolError::Version { theirs: version });
    }
    decode(line)
}

/// Reads a reply from its line, with or without the newline.
pub fn decode_reply(line: &[u8]) -> Result<StampReply, ProtocolError> {
    decode(line)
}

fn decode<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, ProtocolError> {
    if line.len() > LINE_MAX {
        return Err(ProtocolError::TooLong { len: line.len() });
    }
    serde_json::from_slice(line).map_err(ProtocolError::Malformed)
}
