//! Conditions for the sessions in a list.

use std::time::SystemTime;

use vctl_common::person::Person;
use vctl_common::session::SessionOpened;

/// Conditions that must all hold; `None` is no condition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Part of the host's name.
    pub(crate) host: Option<String>,
    /// Shown or whole name of the person.
    pub(crate) user: Option<String>,
    /// Opened at this time or later.
    pub(crate) since: Option<SystemTime>,
    /// Opened before this time.
    pub(crate) until: Option<SystemTime>,
}

impl Filter {
    pub(crate) fn is_empty(&self) -> bool {
        self.host.is_none() && self.user.is_none() && self.since.is_none() && self.until.is_none()
    }

    /// Returns whether a session recorded on this host matches. The signing CA is not checked here: the name is the one
    /// in the certificate.
    pub(crate) fn matches_local(&self, opened: &SessionOpened, opened_at: SystemTime) -> bool {
        let certificate = opened.auth.certificate.as_ref();
        let is_user = |user: &String| {
            certificate
                .is_some_and(|certificate| Person::new(certificate.key_id.as_str()).is_called(user))
        };
        self.user.as_ref().is_none_or(is_user)
            && self.since.is_none_or(|since| opened_at >= since)
            && self.until.is_none_or(|until| opened_at < until)
    }
}
