//! Certificates as the audit log, the access log and the hosts recorded them, and the differences.

use std::time::{Duration, SystemTime};

use vctl_common::id::{CertSerial, SessionId};

use super::names::Name;

/// A line of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Index of the file on the command line.
    pub(crate) file: usize,
    pub(crate) line: u64,
}

/// A certificate that Vault signed, or was asked to sign.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    /// `None` if the log does not have it.
    pub(crate) serial: Option<CertSerial>,
    /// Id of the request in Vault, the same in the files of all audit devices.
    pub(crate) request: Option<u128>,
    pub(crate) at: SystemTime,
    pub(crate) mount: Name,
    pub(crate) role: Name,
    /// Display name of the token.
    pub(crate) person: Name,
    pub(crate) address: Name,
    pub(crate) place: Place,
}

/// A certificate in a row of the access log.
#[derive(Clone, Debug)]
pub(crate) struct LoggedAccess {
    pub(crate) id: i64,
    /// 0 for the target, and the number of the jump host otherwise.
    pub(crate) hop: i32,
    pub(crate) serial: CertSerial,
    pub(crate) ca: Option<Name>,
    /// The CA is one of ours.
    pub(crate) is_ours: bool,
    /// Proven by the database login that wrote the row.
    pub(crate) person: Name,
    pub(crate) key_id: Option<Name>,
    pub(crate) host: Name,
    pub(crate) at: SystemTime,
}

/// A row of an attempt that ended before the client knew its certificate: the host could not be reached, or Vault did
/// not sign.
#[derive(Clone, Debug)]
pub(crate) struct FailedAttempt {
    pub(crate) id: i64,
    pub(crate) person: Name,
    pub(crate) host: Name,
    pub(crate) at: SystemTime,
}

/// A session with a certificate of one of our CAs, as its host reports it.
#[derive(Clone, Debug)]
pub(crate) struct SeenSession {
    pub(crate) id: SessionId,
    pub(crate) serial: CertSerial,
    pub(crate) ca: Name,
    pub(crate) key_id: Option<Name>,
    pub(crate) host: Name,
    pub(crate) opened_at: SystemTime,
    /// When its certificate was signed, if the certificate says so; else when the session was opened.
    pub(crate) signed_at: SystemTime,
}

/// A period of time, with both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: SystemTime,
    pub(crate) to: SystemTime,
}

impl Span {
    /// Returns the part that both have; `None` if there is none.
    pub(crate) fn common(self, other: Self) -> Option<Self> {
        let both = Self {
            from: self.from.max(other.from),
            to: self.to.min(other.to),
        };
        (both.from <= both.to).then_some(both)
    }

    /// Returns the span without `margin` at each end; `None` if nothing is left.
    pub(crate) fn without(self, margin: Duration) -> Option<Self> {
        let inner = Self {
            from: self.from.checked_add(margin)?,
            to: self.to.checked_sub(margin)?,
        };
        (inner.from <= inner.to).then_some(inner)
    }

    /// Returns the span with `margin` added at each end.
    pub(crate) fn with(self, margin: Duration) -> Self {
        Self {
            from: self.from.checked_sub(margin).unwrap_or(self.from),
            to: self.to.checked_add(margin).unwrap_or(self.to),
        }
    }

    pub(crate) fn contains(self, at: SystemTime) -> bool {
        (self.from..=self.to).contains(&at)
    }
}

/// The kinds of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    SignatureWithoutAccess,
    AccessWithoutSignature,
    SessionWithoutAccess,
    SessionWithoutSignature,
    IdentityDiffers,
    SignatureWithoutSerial,
    RequestWithoutResponse,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::SignatureWithoutAccess,
        Self::AccessWithoutSignature,
        Self::SessionWithoutAccess,
        Self::SessionWithoutSignature,
        Self::IdentityDiffers,
        Self::SignatureWithoutSerial,
        Self::RequestWithoutResponse,
    ];

    /// Returns the word in JSON and CSV.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::SignatureWithoutAccess => "signature_without_access",
            Self::AccessWithoutSignature => "access_without_signature",
            Self::SessionWithoutAccess => "session_without_access",
            Self::SessionWithoutSignature => "session_without_signature",
            Self::IdentityDiffers => "identity_differs",
            Self::SignatureWithoutSerial => "signature_without_serial",
            Self::RequestWithoutResponse => "request_without_response",
        }
    }
}

/// A difference, with everything that is recorded about its certificate. A serial has at most one of each kind.
#[derive(Clone, Debug)]
pub(crate) struct Exception<'a> {
    pub(crate) kind: Kind,
    pub(crate) at: SystemTime,
    pub(crate) serial: Option<CertSerial>,
    pub(crate) signature: Option<&'a Signature>,
    pub(crate) accesses: &'a [LoggedAccess],
    pub(crate) sessions: &'a [SeenSession],
    /// An attempt of the same person at that time, which may be the reason for an unused signature without a row.
    pub(crate) attempt: Option<&'a FailedAttempt>,
}

/// Number of records that were compared, or were left out because they lie outside of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) signatures: u64,
    pub(crate) accesses: u64,
    pub(crate) sessions: u64,
}
