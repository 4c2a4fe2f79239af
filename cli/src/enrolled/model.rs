//! One enrolled host: its identities, its last signs, and its former names.

use std::collections::BTreeSet;
use std::time::SystemTime;

/// A host of the inventory that is enrolled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnrolledHost {
    pub(crate) name: String,
    pub(crate) dc: String,
    /// Operational state, such as `active`.
    pub(crate) state: String,
    /// AppRoles of its credentials. One of a former name is valid until the end of the rename.
    pub(crate) approles: Vec<String>,
    /// Time of its last enrolment; `None` if an older vctl enrolled it.
    pub(crate) enrolled_at: Option<SystemTime>,
    /// Time at which its collector last shipped records.
    pub(crate) last_record_at: Option<SystemTime>,
    /// Time of the last status report.
    pub(crate) last_report_at: Option<SystemTime>,
    /// End of its secret id, as the host reports it.
    pub(crate) secret_id_expires_at: Option<SystemTime>,
    /// Names that it had before, the newest first.
    pub(crate) former_names: Vec<FormerName>,
}

/// A name that a host had before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormerName {
    pub(crate) name: String,
    pub(crate) until: Option<SystemTime>,
    /// Whole display name of the person who renamed the host.
    pub(crate) renamed_by: String,
}

/// Places that still have the former name of a renamed host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldNameLeft {
    /// Whether a valid certificate of the host names it.
    pub(crate) has_certificate: bool,
    /// Grants with the name in their scope, as text.
    pub(crate) scopes: Vec<String>,
}

impl EnrolledHost {
    /// Returns whether the host is enrolled: it has an identity, or the inventory says so.
    pub(crate) fn is_enrolled(&self) -> bool {
        !self.approles.is_empty() || self.enrolled_at.is_some()
    }

    /// Returns the names under which its identities may be found.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        // A host may have had a name twice.
        let mut seen = BTreeSet::new();
        let former = self.former_names.iter().map(|former| &*former.name);
        let names = std::iter::once(&*self.name).chain(former);
        names.filter(move |name| seen.insert(*name))
    }
}
