//! Name of a host in the inventory.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Name of a host in the inventory: it is valid as a key in known_hosts, and safe in a shell, a URL
/// and a Vault path.
///
/// Invariant: 1 to 63 of `a-z`, `0-9`, `.`, `_` and `-`, with a letter or digit at both ends; the
/// same as the domain `vctl.host_name` of the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct HostName(String);

/// The text is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a host name (1 to 63 of a-z, 0-9, `.`, `_` and `-`, with a letter or digit at both ends)"
)]
pub struct InvalidHostName(String);

impl HostName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = InvalidHostName;

    fn from_str(text: &str) -> Result<Self, InvalidHostName> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let inner = bytes
            .iter()
            .all(|&b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
        let ends =
            bytes.first().is_some_and(|&b| plain(b)) && bytes.last().is_some_and(|&b| plain(b));
        if inner && ends && bytes.len() <= 63 {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidHostName(text.to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_cannot_leave_a_path_or_a_statement() {
        for name in ["a", "web-1", "web_1.example.org", "10.0.0.1"] {
            assert_eq!(name.parse::<HostName>().unwrap().as_str(), name);
        }
        let long = "a".repeat(64);
        for name in [
            "", "-a", "a-", ".", "..", "A", "a/b", "a'b", "a b", "a\n", "é", &long,
        ] {
            assert!(name.parse::<HostName>().is_err(), "{name:?}");
        }
    }
}
