//! Chooses the events that a full spool drops: the largest session of the largest account first. Pure.
//!
//! Sessions share a segment, so the events of the others are copied. The choice is a segment of which at least
//! half goes: a copy never costs more than it frees.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use vctl_common::wire::Mark;

use super::owner::Owner;

/// Bytes of events and journal entries by session, sorted by session.
pub(super) type Shares = [(Mark, u64)];

/// A session or person above this part of the cap gives way to others.
const LARGE: u64 = 16;
/// An account above this part of the cap gives way to other accounts.
const LARGE_ACCOUNT: u64 = 4;
/// Most bytes copied out of one segment: they are one batch, and in memory at once.
const MOST_CARRIED: u64 = 16 << 20;

/// A segment to drop, and the sessions that lose their events in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) segment: usize,
    pub(super) sessions: HashSet<Mark>,
}

/// Sessions that are large together, and their bytes.
struct Group {
    sessions: Vec<Mark>,
    bytes: u64,
}

/// Finds the segment of which the larger part belongs to the largest session of the largest account, else to
/// its largest person, else to the account; the oldest of several. `None` when no account is large, or no other
/// account needs room.
///
/// `segments` may be dropped, oldest first; `others` are the bytes in the other segments.
pub(super) fn choose(
    segments: &[&Shares],
    others: &Shares,
    owner: impl Fn(Mark) -> Owner,
    cap: u64,
) -> Option<Choice> {
    let mut sessions: HashMap<Mark, u64> = HashMap::new();
    for &(mark, bytes) in segments.iter().copied().flatten().chain(others) {
        *sessions.entry(mark).or_default() += bytes;
    }
    let owners: HashMap<Mark, Owner> = sessions.keys().map(|&mark| (mark, owner(mark))).collect();
    // Two large accounts in the same segments may fill half of each only together.
    let mut heavy = HashSet::new();
    for account in groups(&sessions, sessions.keys(), cap / LARGE_ACCOUNT, |mark| {
        &owners[&mark].account
    }) {
        let own = || account.sessions.iter();
        let by_session = groups(&sessions, own(), cap / LARGE, |mark| mark);
        let by_person = groups(&sessions, own(), cap / LARGE, |mark| &owners[&mark]);
        for level in [
            by_session,
            by_person,
            vec![Group {
                sessions: account.sessions.clone(),
                bytes: account.bytes,
            }],
        ] {
            let mut tried = heavy.clone();
            for group in level {
                tried.extend(group.sessions);
                if tried.len() == sessions.len() {
                    break;
                }
                if let Some(segment) = segments.iter().position(|s| is_theirs(s, &tried)) {
                    return Some(Choice {
                        segment,
                        sessions: tried,
                    });
                }
            }
        }
        heavy.extend(account.sessions);
    }
    None
}

/// Returns whether at least half of the segment belongs to these sessions, and the rest can be copied.
fn is_theirs(shares: &Shares, heavy: &HashSet<Mark>) -> bool {
    let (mut theirs, mut rest) = (0, 0);
    for (mark, bytes) in shares {
        *(if heavy.contains(mark) {
            &mut theirs
        } else {
            &mut rest
        }) += bytes;
    }
    theirs > 0 && theirs >= rest && rest <= MOST_CARRIED
}

/// Groups sessions by `key`, and returns the groups with more than `large` bytes, largest first. Sizes
/// that differ by less than an eighth of `large` may count as equal.
fn groups<'a, K: Eq + Hash>(
    sessions: &HashMap<Mark, u64>,
    of: impl Iterator<Item = &'a Mark>,
    large: u64,
    key: impl Fn(Mark) -> K,
) -> Vec<Group> {
    let mut by_key: HashMap<K, Group> = HashMap::new();
    for &mark in of {
        let group = by_key.entry(key(mark)).or_insert_with(|| Group {
            sessions: Vec::new(),
            bytes: 0,
        });
        group.sessions.push(mark);
        group.bytes += sessions[&mark];
    }
    let mut groups: Vec<_> = by_key.into_values().filter(|g| g.bytes > large).collect();
    for group in &mut groups {
        group.sessions.sort_unstable();
    }
    // So a longer name seldom decides which session gives way.
    let size = |group: &Group| group.bytes / (large / 8).max(1);
    groups.sort_by(|a, b| size(b).cmp(&size(a)).then(a.sessions.cmp(&b.sessions)));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::owner::Account;

    const CAP: u64 = 1000;

    /// Session 1xy is of account 1 and its person x.
    fn owner(mark: Mark) -> Owner {
        Owner {
            account: Account::LoginUid(u32::try_from(mark / 100).unwrap()),
            person: Some((mark / 10).to_string()),
        }
    }

    fn chosen(segments: &[&Shares]) -> Option<(usize, Vec<Mark>)> {
        let choice = choose(segments, &[], owner, CAP)?;
        let mut sessions: Vec<_> = choice.sessions.into_iter().collect();
        sessions.sort_unstable();
        Some((choice.segment, sessions))
    }

    #[test]
    fn the_largest_session_gives_way_in_its_oldest_segment() {
        let segments: [&Shares; 3] = [
            &[(110, 20), (210, 90)],
            &[(110, 90), (210, 9)],
            &[(110, 300)],
        ];
        assert_eq!(chosen(&segments), Some((1, vec![110])));
    }

    #[test]
    fn many_small_sessions_of_a_person_count_as_one() {
        let own: Vec<_> = (110..120).map(|mark| (mark, 40)).collect();
        let segments: [&Shares; 2] = [&[(210, 50)], &own];
        assert_eq!(chosen(&segments), Some((1, (110..120).collect())));
    }

    #[test]
    fn many_persons_of_one_account_count_as_one_account() {
        let own: Vec<_> = (0..9).map(|person| (100 + person * 10, 50)).collect();
        let segments: [&Shares; 2] = [&[(210, 50)], &own];
        let marks = own.iter().map(|(mark, _)| *mark).collect();
        assert_eq!(chosen(&segments), Some((1, marks)));
    }

    #[test]
    fn the_largest_account_gives_way_before_a_large_session() {
        let own: Vec<_> = (110..150).map(|mark| (mark, 15)).collect();
        let segments: [&Shares; 2] = [&[(210, 300)], &own];
        assert_eq!(chosen(&segments).map(|(segment, _)| segment), Some(1));
    }

    #[test]
    fn two_large_accounts_in_the_same_segments_both_give_way() {
        let mixed: &Shares = &[(110, 110), (210, 100), (310, 90)];
        let segments: [&Shares; 3] = [mixed, mixed, mixed];
        assert_eq!(chosen(&segments), Some((0, vec![110, 210])));
    }

    #[test]
    fn with_one_owner_or_none_that_is_large_nothing_is_chosen() {
        assert_eq!(chosen(&[&[(110, 900)]]), None);
        let small: Vec<_> = (1..9).map(|account| (account * 100, 60)).collect();
        assert_eq!(chosen(&[&small]), None);
    }
}
