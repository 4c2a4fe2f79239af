//! The user to whom a session counts when the room in the spool is divided.

use vctl_common::session::SessionOpened;
use vctl_common::wire::Mark;

/// A Unix account. The login uid comes first: a user cannot change it, and two names may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    LoginUid(u32),
    Name(String),
    /// The owner of the session is no longer in the spool; it shares with no other session.
    Unknown(Mark),
}

/// A person on an account, as far as the login distinguishes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    pub account: Account,
    /// CA and key id of the certificate, else the key.
    pub person: Option<String>,
}

impl Owner {
    pub fn of(opened: &SessionOpened) -> Self {
        let auth = &opened.auth;
        let certificate = auth.certificate.as_ref();
        Self {
            account: match opened.login_uid {
                Some(uid) => Account::LoginUid(uid),
                None => Account::Name(opened.login_user.clone()),
            },
            person: certificate
                .map(|of| format!("{} {}", of.ca_fingerprint, of.key_id))
                .or_else(|| auth.key_fingerprint.clone()),
        }
    }

    pub(super) fn unknown(mark: Mark) -> Self {
        Self {
            account: Account::Unknown(mark),
            person: None,
        }
    }
}
