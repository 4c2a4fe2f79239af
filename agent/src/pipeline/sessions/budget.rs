//! The byte budgets of a session and of its account; beyond them argv is cut.
//!
//! Stored bytes count and are forgotten within a day, because a session may run for weeks. An account has four times
//! the budget of a session, so many sessions at once or one after another do not evade it. Beyond that budget, only
//! sessions that have stored little are not cut.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::session::registry::{Cut, LiveSession, Registry};
use crate::spool::{Account, Owner};

/// Time in which a budget is forgotten as a whole.
const PERIOD: Duration = Duration::from_hours(24);
/// An account's budget, in budgets of a session.
const ACCOUNT: u64 = 4;
/// A session's budget is at most this part of the spool's cap.
const OF_CAP: u64 = 16;
/// The part of its budget that a session may store when its account is over budget, and when it is far over.
const LEFT_ALONE: [u64; 2] = [16, 1024];
/// Bytes after which the budgets are looked at again.
const LOOK: u64 = 256 * 1024;

/// The bytes stored lately, except those of open sessions, which the registry counts.
#[derive(Debug)]
pub(super) struct Budget {
    session: u64,
    /// Bytes of closed sessions, by account.
    closed: HashMap<Account, u64>,
    /// Bytes stored since the last look.
    since_look: u64,
    forgotten_at: Instant,
}

impl Budget {
    /// `session` is the configured budget, `cap` that of the spool.
    pub(super) fn new(session: u64, cap: u64) -> Self {
        Self {
            session: session.min(cap / OF_CAP).max(1),
            closed: HashMap::new(),
            since_look: 0,
            forgotten_at: Instant::now(),
        }
    }

    /// Notes stored bytes of a session. Returns whether it is time to look.
    pub(super) fn store(&mut self, session: &mut LiveSession, bytes: u64) -> bool {
        session.spent += bytes;
        self.since_look += bytes;
        self.since_look >= LOOK.min(self.session / 4)
    }

    pub(super) fn close(&mut self, session: &LiveSession) {
        let account = Owner::of(&session.opened).account;
        *self.closed.entry(account).or_default() += session.spent;
    }

    /// Decides for each session how much of argv is stored from now on. Returns the number of sessions that are cut.
    pub(super) fn look(&mut self, registry: &mut Registry) -> u64 {
        self.since_look = 0;
        let mut accounts = self.closed.clone();
        for (_, session) in registry.iter() {
            *accounts
                .entry(Owner::of(&session.opened).account)
                .or_default() += session.spent;
        }
        let mut cut = 0;
        for session in registry.iter_mut() {
            let account = Owner::of(&session.opened).account;
            let of_account = accounts.get(&account).copied().unwrap_or(0);
            session.cut = self.judge(session.spent, of_account);
            cut += u64::from(session.cut != Cut::Nothing);
        }
        cut
    }

    fn judge(&self, session: u64, account: u64) -> Cut {
        let over = |spent: u64, budget: u64| (spent / budget.max(1)).min(2);
        let own = over(session, self.session);
        let shared = match over(account, self.session.saturating_mul(ACCOUNT)) {
            1 if session > self.session / LEFT_ALONE[0] => 1,
            2 if session > self.session / LEFT_ALONE[1] => 2,
            _ => 0,
        };
        match own.max(shared) {
            0 => Cut::Nothing,
            1 => Cut::Long,
            _ => Cut::All,
        }
    }

    /// Forgets bytes in proportion to the time since the last call.
    pub(super) fn forget(&mut self, registry: &mut Registry) {
        let elapsed = self.forgotten_at.elapsed();
        let part = u128::from(self.session) * elapsed.as_millis() / PERIOD.as_millis();
        let part = u64::try_from(part).unwrap_or(u64::MAX);
        if part == 0 {
            return;
        }
        self.forgotten_at = Instant::now();
        for session in registry.iter_mut() {
            session.spent = session.spent.saturating_sub(part);
        }
        self.closed.retain(|_, spent| {
            *spent = spent.saturating_sub(part.saturating_mul(ACCOUNT));
            *spent > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::id::SessionId;
    use vctl_common::session::SessionOpened;
    use vctl_common::time::BootNs;
    use vctl_common::wire::Mark;

    const MIB: u64 = 1 << 20;

    fn open(registry: &mut Registry, uid: u32, n: u64) -> Mark {
        let mut opened = SessionOpened::unknown(SessionId::from_mark(n), BootNs(1));
        opened.login_uid = Some(uid);
        registry.open(opened)
    }

    fn cut(registry: &Registry, mark: Mark) -> Cut {
        registry.get(mark).unwrap().cut
    }

    fn store(budget: &mut Budget, registry: &mut Registry, mark: Mark, bytes: u64) {
        budget.store(registry.get_mut(mark).unwrap(), bytes);
        budget.look(registry);
    }

    #[test]
    fn only_a_session_over_its_budget_is_cut() {
        let (mut budget, mut registry) = (Budget::new(MIB, 1 << 30), Registry::default());
        let [flood, other] = [1, 2].map(|n| open(&mut registry, 1000, n));
        store(&mut budget, &mut registry, flood, MIB - 1);
        assert_eq!(cut(&registry, flood), Cut::Nothing);
        store(&mut budget, &mut registry, flood, 1);
        assert_eq!(cut(&registry, flood), Cut::Long);
        store(&mut budget, &mut registry, flood, MIB);
        assert_eq!(cut(&registry, flood), Cut::All);
        assert_eq!(cut(&registry, other), Cut::Nothing);
    }

    #[test]
    fn many_sessions_share_the_budget_of_their_account() {
        let (mut budget, mut registry) = (Budget::new(MIB, 1 << 30), Registry::default());
        let flood = [1, 2, 3, 4, 5, 6].map(|n| open(&mut registry, 1000, n));
        let [small, other] = [open(&mut registry, 1000, 7), open(&mut registry, 1001, 8)];
        store(&mut budget, &mut registry, small, MIB / 32);
        store(&mut budget, &mut registry, other, MIB / 2);
        for mark in flood {
            store(&mut budget, &mut registry, mark, MIB - 1);
        }
        assert!(flood.iter().all(|mark| cut(&registry, *mark) == Cut::Long));
        assert_eq!(cut(&registry, small), Cut::Nothing);
        assert_eq!(cut(&registry, other), Cut::Nothing);
    }

    #[test]
    fn a_new_login_does_not_begin_with_a_new_budget() {
        let (mut budget, mut registry) = (Budget::new(MIB, 1 << 30), Registry::default());
        for n in 1..=8 {
            let mark = open(&mut registry, 1000, n);
            store(&mut budget, &mut registry, mark, MIB - 1);
            budget.close(&registry.close(mark).unwrap());
        }
        let mark = open(&mut registry, 1000, 9);
        store(&mut budget, &mut registry, mark, MIB / 15);
        assert_ne!(cut(&registry, mark), Cut::Nothing);
    }

    #[test]
    fn a_day_later_the_budget_is_free_again() {
        let (mut budget, mut registry) = (Budget::new(MIB, 1 << 30), Registry::default());
        let mark = open(&mut registry, 1000, 1);
        store(&mut budget, &mut registry, mark, MIB);
        budget.forgotten_at = Instant::now().checked_sub(PERIOD / 2).unwrap();
        budget.forget(&mut registry);
        budget.look(&mut registry);
        assert_eq!(cut(&registry, mark), Cut::Nothing);
        let spent = registry.get(mark).unwrap().spent;
        assert!((MIB / 4..=MIB / 2).contains(&spent), "{spent}");
    }

    #[test]
    fn the_budget_is_at_most_a_part_of_the_cap() {
        assert_eq!(Budget::new(u64::MAX, 16 * MIB).session, MIB);
        assert_eq!(Budget::new(MIB, 1 << 30).session, MIB);
    }
}
