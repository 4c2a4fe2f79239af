//! The messages of hook and collector: one JSON line each way.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vctl_common::id::SessionId;
use vctl_common::time::BootNs;

/// Version of the lines. Both sides are one binary, but during an upgrade a hook of one version meets a
/// collector of another.
pub const VERSION: u32 = 1;

/// Most bytes of a line: an `SSH_AUTH_INFO_0` of 128 KiB, the limit of execve(2) for one string, with every
/// byte escaped to six, and the other fields.
pub const LINE_MAX: usize = 1024 * 1024;

/// Time for which the hook holds a login, from `hook_started` on. Both sides rely on it: a login that was
/// marked within this time has run nothing before.
pub const HELD_FOR: Duration = Duration::from_secs(2);

/// Time for the hook's steps after a missing answer. They use disks and name services, which may hang.
pub const FALLBACK_DEADLINE: Duration = Duration::from_secs(3);

/// A login that asks for a stamp. All fields come from the client, PAM or the hook; the collector asks the
/// kernel for the login process.
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
    /// Set only in the file of a late login: strict mode allowed the login because of the group.
    pub break_glass: bool,
}

/// The collector's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum StampReply {
    /// The login is marked in the kernel and stored in the spool.
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
    /// Read first: it decides the meaning of the other fields.
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

#[cfg(test)]
impl StampRequest {
    /// A login of sshd with a password.
    pub(crate) fn fixture() -> Self {
        Self {
            version: VERSION,
            session_id: SessionId::generate(),
            pam_type: "open_session".to_owned(),
            service: "sshd".to_owned(),
            user: "deploy".to_owned(),
            rhost: Some("10.0.0.9".to_owned()),
            tty: Some("ssh".to_owned()),
            auth_info: Some("password".to_owned()),
            ssh_connection: Some("10.0.0.9 51022 10.0.0.1 22".to_owned()),
            hook_started: BootNs(1000),
            hook_pid: 4243,
            break_glass: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> StampRequest {
        StampRequest {
            auth_info: Some("publickey ssh-ed25519 AAAA\n".to_owned()),
            hook_started: BootNs(u64::MAX),
            ..StampRequest::fixture()
        }
    }

    #[test]
    fn a_request_is_one_line_whatever_is_in_it() {
        let line = encode(&request()).unwrap();
        assert_eq!(line.split_inclusive(|b| *b == b'\n').count(), 1);
        let read = decode_request(&line).unwrap();
        assert_eq!(read.auth_info, request().auth_info);
        assert_eq!(read.hook_started, BootNs(u64::MAX));
    }

    #[test]
    fn another_version_is_refused_by_its_number_alone() {
        let error = decode_request(b"{\"version\":2,\"session_id\":7}\n").unwrap_err();
        assert!(
            matches!(error, ProtocolError::Version { theirs: 2 }),
            "{error}"
        );
    }

    #[test]
    fn a_line_above_the_cap_is_neither_written_nor_read() {
        let mut large = request();
        large.auth_info = Some("x".repeat(LINE_MAX));
        assert!(matches!(encode(&large), Err(ProtocolError::TooLong { .. })));
        let line = vec![b' '; LINE_MAX + 1];
        assert!(matches!(
            decode_request(&line),
            Err(ProtocolError::TooLong { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_line_makes_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_request(&bytes);
            let _ = decode_reply(&bytes);
        }

        #[test]
        fn a_damaged_request_never_makes_the_decoder_panic(at in any::<prop::sample::Index>(), byte: u8) {
            let mut line = encode(&request()).unwrap();
            let at = at.index(line.len());
            line[at] = byte;
            let _ = decode_request(&line);
            let _ = decode_request(&line[..at]);
        }

        #[test]
        fn any_reason_survives_the_way_back(reason: String) {
            let reply = StampReply::Refused { reason };
            prop_assert_eq!(decode_reply(&encode(&reply).unwrap()).unwrap(), reply);
        }
    }
}
