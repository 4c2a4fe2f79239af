//! How many bytes a session and its account may store before argv of theirs is cut.
//!
//! What was stored counts, and is forgotten within a day: a session may go on for weeks. An account
//! has four times as much as a session, so that many sessions at once, or one after another, are no
//! way around. Beyond that, only sessions that have stored little since are left alone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::enrich::cut::Cut;
use crate::session::registry::{LiveSession, Registry};
use crate::spool::{Account, Owner};

/// A budget is stored anew in this time.
const PERIOD: Duration = Duration::from_hours(24);
/// An account's budget, in budgets of a session.
const ACCOUNT: u64 = 4;
/// A session's budget is at most this part of the spool's cap.
const OF_CAP: u64 = 16;
/// What a session may store of an account that is over its budget, and of one that is far over.
const LEFT_ALONE: [u64; 2] = [16, 1024];
/// Bytes after which it is time to look whose session is over its budget.
const LOOK: u64 = 256 * 1024;

/// The bytes stored lately, beside those that open sessions keep themselves.
#[derive(Debug)]
pub(super) struct Budget {
    session: u64,
    /// Of sessions that are over, by account.
    closed: HashMap<Account, u64>,
    /// Stored since sessions were last looked at.
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

    /// Notes bytes that were stored of a session. Returns whether it is time to look.
    pub(super) fn store(&mut self, session: &mut LiveSession, bytes: u64) -> bool {
        session.spent += bytes;
        self.since_look += bytes;
        self.since_look >= LOOK.min(self.session / 4)
    }

    pub(super) fn close(&mut self, session: &LiveSession) {
        let account = Owner::of(&session.opened).account;
        *self.closed.entry(account).or_default() += session.spent;
    }

    /// Decides for each session how much of argv is stored from now on. Returns how many are cut.
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

    /// Forgets what was stored long enough ago.
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
    use crate::pipeline::recover::unknown_session;
    use vctl_common::wire::Mark;

    const MIB: u64 = 1 << 20;

    fn open(registry: &mut Registry, uid: u32, n: u64) -> Mark {
        let mut opened = unknown_session(n);
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
    fn a_session_over_its_budget_is_cut_and_no_other() {
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
    fn a_day_later_the_budget_is_there_again() {
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
    fn the_budget_is_a_part_of_the_cap_however_it_is_configured() {
        assert_eq!(Budget::new(u64::MAX, 16 * MIB).session, MIB);
        assert_eq!(Budget::new(MIB, 1 << 30).session, MIB);
    }
}
