//! Waits of this process: for answers of Vault and for new connections to Postgres.
//!
//! A request does not know whether its wait should be shown; the command line does. So requests
//! enter their waits here, and the command line reads them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static WAITS: Mutex<Vec<Wait>> = Mutex::new(Vec::new());

struct Wait {
    number: u64,
    what: String,
    kind: Kind,
    since: Instant,
    is_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Vault,
    Postgres,
}

/// One wait; dropping it ends the wait.
#[derive(Debug)]
pub struct Waiting(u64);

/// Enters a wait for `what`: `` Vault at `https://vault.example` ``.
pub(crate) fn begin(kind: Kind, what: String) -> Waiting {
    let mut waits = waits();
    let number = waits.last().map_or(0, |last| last.number + 1);
    waits.push(Wait {
        number,
        what,
        kind,
        since: Instant::now(),
        is_told: false,
    });
    Waiting(number)
}

/// Returns a wait that has lasted at least this long, unless it was returned before.
///
/// If both waits are running, returns Postgres: Vault answers only after Postgres has created the
/// login.
pub fn untold(at_least: Duration) -> Option<String> {
    let mut waits = waits();
    let long = waits.iter().filter(|wait| wait.since.elapsed() >= at_least);
    let kind = long.map(|wait| wait.kind).max_by_key(|kind| *kind as u8)?;
    let mut of_kind = waits
        .iter_mut()
        .filter(|wait| wait.kind == kind && wait.since.elapsed() >= at_least);
    let what = of_kind.find(|wait| !wait.is_told).map(|wait| {
        wait.is_told = true;
        wait.what.clone()
    })?;
    Some(what)
}

impl Drop for Waiting {
    fn drop(&mut self) {
        waits().retain(|wait| wait.number != self.0);
    }
}

fn waits() -> MutexGuard<'static, Vec<Wait>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_once_and_postgres_before_vault() {
        let vault = begin(Kind::Vault, "Vault".to_owned());
        assert_eq!(untold(Duration::from_hours(1)), None);
        let postgres = begin(Kind::Postgres, "Postgres".to_owned());
        assert_eq!(untold(Duration::ZERO).as_deref(), Some("Postgres"));
        assert_eq!(untold(Duration::ZERO), None);
        drop(postgres);
        assert_eq!(untold(Duration::ZERO).as_deref(), Some("Vault"));
        drop(vault);
        assert_eq!(untold(Duration::ZERO), None);
    }
}
