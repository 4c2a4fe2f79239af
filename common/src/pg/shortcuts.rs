//! Steps of a login that need not wait for the server.
//!
//! Each answer of a far server costs a round trip. The first connection waits for all of them and remembers the answers
//! that the server gives every time. Later connections do not ask again: TLS starts without a request, SCRAM starts with
//! the startup message, and the check of the schema is sent with the proof of the password. A server that answers
//! otherwise costs one more connection, and is asked from then on.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// First major version of Postgres that accepts TLS without a request for it.
const DIRECT_TLS: u32 = 17;

/// What earlier connections showed about a server. `None`: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortcuts {
    /// The server accepts TLS without a request for it.
    pub direct_tls: Option<bool>,
    /// The server asks for SCRAM with channel binding, and reads messages that were sent ahead.
    pub scram: Option<bool>,
}

impl Shortcuts {
    /// Returns the time after which they count as unknown, because the server may have been replaced. A refusal counts for
    /// less: a line that stalled once looks like it.
    pub fn lifetime(&self) -> Duration {
        match self.scram {
            Some(false) => Duration::from_hours(1),
            _ => Duration::from_hours(24),
        }
    }

    /// Returns the shortcuts after a login with SCRAM at a server of this version, such as `17.2 (Debian 17.2-1)`.
    ///
    /// A refusal stays: a pooler states the version of the server behind it, and may offer SCRAM without reading ahead.
    pub(super) fn after_login(self, version: &str) -> Self {
        let digits = version.split(|letter: char| !letter.is_ascii_digit());
        let major: Option<u32> = digits.take(1).find_map(|major| major.parse().ok());
        let is_new = major.is_some_and(|major| major >= DIRECT_TLS);
        Self {
            direct_tls: self.direct_tls.or(Some(is_new)),
            scram: self.scram.or(Some(true)),
        }
    }

    pub(super) fn without_direct_tls(self) -> Self {
        Self {
            direct_tls: Some(false),
            ..self
        }
    }

    pub(super) fn without_scram(self) -> Self {
        Self {
            scram: Some(false),
            ..self
        }
    }
}

/// The place where shortcuts are kept.
pub trait ShortcutStore: fmt::Debug + Send + Sync {
    fn shortcuts(&self) -> Shortcuts;

    /// Keeps what `change` makes of the present shortcuts.
    fn change_shortcuts(&self, change: &dyn Fn(Shortcuts) -> Shortcuts);
}

/// Keeps the shortcuts of a process that runs for long, each for its time.
#[derive(Debug, Default)]
pub(super) struct InProcess(Mutex<Learned>);

type Learned = Option<(Instant, Shortcuts)>;

impl ShortcutStore for InProcess {
    fn shortcuts(&self) -> Shortcuts {
        usable(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_shortcuts(&self, change: &dyn Fn(Shortcuts) -> Shortcuts) {
        let mut learned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = usable(*learned);
        let after = change(before);
        if after != before {
            *learned = Some((Instant::now(), after));
        }
    }
}

fn usable(learned: Learned) -> Shortcuts {
    let learned = learned.filter(|(at, shortcuts)| at.elapsed() < shortcuts.lifetime());
    learned.map(|(_, shortcuts)| shortcuts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_tls_begins_with_version_17() {
        for (version, direct) in [
            ("14.24", false),
            ("15.18 (Debian 15.18-0+deb12u1)", false),
            ("16.1", false),
            ("17.2 (Ubuntu 17.2-1)", true),
            ("18beta1", true),
            ("unknown", false),
            ("", false),
        ] {
            let after = Shortcuts::default().after_login(version);
            assert_eq!(after.direct_tls, Some(direct), "{version}");
            assert_eq!(after.scram, Some(true), "{version}");
        }
    }

    #[test]
    fn a_refusal_stays() {
        let refused = Shortcuts::default().without_direct_tls().without_scram();
        assert_eq!(refused.after_login("18.0"), refused);
    }
}
