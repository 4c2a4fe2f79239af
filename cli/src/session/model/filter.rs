//! Which sessions a list is for.

use std::time::SystemTime;

use vctl_common::person::Person;
use vctl_common::session::SessionOpened;

/// Conditions, all of which must hold; those that are `None` do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// A part of the host's name.
    pub(crate) host: Option<String>,
    /// A person's shown or whole name.
    pub(crate) user: Option<String>,
    /// Opened then or later.
    pub(crate) since: Option<SystemTime>,
    /// Opened before.
    pub(crate) until: Option<SystemTime>,
}

impl Filter {
    pub(crate) fn is_empty(&self) -> bool {
        self.host.is_none() && self.user.is_none() && self.since.is_none() && self.until.is_none()
    }

    /// Says whether a session recorded on this host is meant. Here nobody knows whose CA signed: the
    /// name is what the certificate says.
    pub(crate) fn takes_local(&self, opened: &SessionOpened, opened_at: SystemTime) -> bool {
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
