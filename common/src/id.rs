//! Ids as types, so that two `u64`s are not swapped by accident and each special case is handled
//! once.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::wire::{Mark, UNSET};

/// Serial of one SSH certificate: it links an access to its sessions.
///
/// An unsigned 64-bit number in OpenSSH. There, 0 means that the CA set none, so 0 is refused.
/// Postgres' `bigint` is signed and a JSON number is a double, so rows hold a `numeric` and JSON
/// holds a string.
/// JSON as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertSerial(NonZeroU64);

impl CertSerial {
    /// Returns `None` for 0, which is not a serial.
    pub fn new(serial: u64) -> Option<Self> {
        NonZeroU64::new(serial).map(Self)
    }

    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for CertSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text is not an id of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct InvalidId {
    text: String,
    expected: &'static str,
}

impl FromStr for CertSerial {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // `u64::from_str` accepts a leading `+`, with which no serial is printed.
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits
            .then(|| text.parse().ok())
            .flatten()
            .and_then(Self::new)
            .ok_or_else(|| InvalidId {
                text: text.to_owned(),
                expected: "a certificate serial (a number from 1 to 18446744073709551615)",
            })
    }
}

impl Serialize for CertSerial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CertSerial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One SSH login, or work that was detached from it: a row in `audit_session`.
///
/// A version 7 UUID, made by the stamper. Its low half is the session's mark in the kernel; it is
/// never 0, because it contains the UUID's variant bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    pub fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// Returns an id for a session of which only the mark is known: the time and the first random
    /// bits are zero.
    pub fn from_mark(mark: Mark) -> Self {
        Self(Uuid::from_u64_pair(0x7000, mark))
    }

    pub fn as_uuid(self) -> Uuid {
        self.0
    }

    /// Returns the session's number in the kernel and in spool blocks.
    pub fn mark(self) -> Mark {
        self.0.as_u64_pair().1
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId {
            text: text.to_owned(),
            expected: "a session id (a UUID, as `vctl session --list` prints it)",
        })
    }
}

/// The kernel's audit session, unique within one boot; the "unset" value (all ones) is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuditSessionId(u32);

impl AuditSessionId {
    pub fn new(raw: u32) -> Option<Self> {
        (raw != UNSET).then_some(Self(raw))
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

/// Inode of a directory in the cgroup v2 hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CgroupId(pub u64);

/// `/proc/sys/kernel/random/boot_id`: all clocks and ids of the kernel apply within one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(Uuid);

impl BootId {
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BootId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text.trim())
            .map(Self)
            .map_err(|_| InvalidId {
                text: text.to_owned(),
                expected: "a boot id (a UUID)",
            })
    }
}

/// A process, unique until the next boot: a pid alone may be used again within seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    pub tgid: u32,
    /// Start of the thread group leader.
    pub start: crate::time::BootNs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_above_i64_survives_json() {
        let serial: CertSerial = "18446744073709551615".parse().unwrap();
        let json = serde_json::to_string(&serial).unwrap();
        assert_eq!(json, "\"18446744073709551615\"");
        assert_eq!(serde_json::from_str::<CertSerial>(&json).unwrap(), serial);
    }

    #[test]
    fn zero_signs_and_spaces_are_no_serial() {
        for text in [
            "",
            "0",
            "+1",
            "-1",
            " 1",
            "1 ",
            "18446744073709551616",
            "0x10",
        ] {
            assert!(text.parse::<CertSerial>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mark_is_never_zero_and_differs_per_session() {
        let (a, b) = (SessionId::generate(), SessionId::generate());
        assert!(a.mark() >> 62 == 0b10 && b.mark() >> 62 == 0b10);
        assert_ne!(a.mark(), b.mark());
    }
}
