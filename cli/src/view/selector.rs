//! Which sessions a person means.

use std::fmt;
use std::str::FromStr;

use vctl_common::id::{CertSerial, SessionId};

/// What names sessions on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    Serial(CertSerial),
    Id(SessionId),
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(serial) = text.parse() {
            return Ok(Self::Serial(serial));
        }
        text.parse().map(Self::Id).map_err(|_| {
            "neither a certificate serial (1 to 18446744073709551615) nor a session id (a UUID)"
                .to_owned()
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "certificate {serial}"),
            Self::Id(id) => write!(f, "id {id}"),
        }
    }
}
