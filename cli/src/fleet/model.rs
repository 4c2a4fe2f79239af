//! What is to be said of a host, and which hosts come first. Pure.

use std::time::Duration;

use vctl_common::time::is_wrong_clock;

use crate::inventory::order;

/// Two heartbeats at their usual interval.
pub(crate) const SILENT_AFTER: Duration = Duration::from_mins(10);
/// As long as a wrapped secret id waits to be opened, unless somebody chose another time.
const EXPECTED_WITHIN: Duration = Duration::from_hours(1);
/// Shipping waits for a full batch at most seconds; after this, something keeps it.
const BEHIND_AFTER: Duration = Duration::from_mins(10);
/// A week is time to ask whoever may enrol hosts.
const EXPIRES_WITHIN: Duration = Duration::from_hours(7 * 24);

/// One host, as it was last heard of. Counters are since its boot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) dc: String,
    /// `active`, `maintenance` or `broken`.
    pub(crate) state: String,
    pub(crate) agent_version: Option<String>,
    /// Since it was last enrolled; `None` when it is not, or was before that was written down.
    pub(crate) enrolled_age: Option<Duration>,
    /// `None` when there never was one.
    pub(crate) heartbeat_age: Option<Duration>,
    /// Since its collector last brought something.
    pub(crate) shipped_age: Option<Duration>,
    /// `None` where no collector has run since the boot.
    pub(crate) collector_up: Option<bool>,
    pub(crate) mode: Option<String>,
    pub(crate) lost: Option<u64>,
    pub(crate) dropped: Option<u64>,
    pub(crate) unstamped: Option<u64>,
    /// Seconds by which its clock is ahead of the database's, negative where it is behind.
    pub(crate) clock_offset_s: Option<i64>,
    /// Logins of the last seven days that an access row, a certificate or another session contradicts.
    pub(crate) contradicted: Option<u64>,
    /// Logins of the last seven days with a certificate of a CA that is none of ours.
    pub(crate) unknown_ca: Option<u64>,
    pub(crate) backlog_bytes: Option<u64>,
    pub(crate) oldest_unshipped_age: Option<Duration>,
    /// Until its credential for Vault expires, zero when it has.
    pub(crate) secret_id_left: Option<Duration>,
    /// In the host's own words.
    pub(crate) problem: Option<String>,
    /// Machines that spoke for this host within ten minutes.
    pub(crate) machines: Vec<String>,
}

/// Something to look at, the worst first.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(crate) enum Finding {
    /// Two machines or more use one credential: who can say which of them is the host?
    SeveralMachines(usize),
    /// Logins that it reports do not fit their certificates or access rows.
    Contradicted(u64),
    /// No heartbeat for ten minutes, or never one though its collector ships.
    Silent(Option<Duration>),
    /// Enrolled an hour ago or more, and nothing was ever heard of it.
    NeverReported(Duration),
    /// Its collector ran since the boot, and does not answer.
    CollectorDown,
    /// It has recorded before, and since its boot no collector has run.
    NotRecording,
    Lost(u64),
    Dropped(u64),
    Unstamped(u64),
    /// Its clock differs from the database's by half a minute or more; seconds ahead.
    Clock(i64),
    /// The oldest event that has not arrived is older than ten minutes.
    Behind(Duration),
    SecretIdExpired,
    SecretIdExpires(Duration),
    /// Nothing of the above, and yet the host says that something is wrong.
    Problem,
}

impl Host {
    /// Says whether anything was ever heard of it.
    pub(crate) fn is_known(&self) -> bool {
        self.heartbeat_age.is_some() || self.shipped_age.is_some()
    }

    /// Returns what is to be looked at, the worst first.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        if !self.is_known() {
            let overdue = self.enrolled_age.filter(|age| *age > EXPECTED_WITHIN);
            return overdue.map(Finding::NeverReported).into_iter().collect();
        }
        let counted = |count: Option<u64>| count.filter(|&count| count > 0);
        let mut found = Vec::new();
        if self.machines.len() > 1 {
            found.push(Finding::SeveralMachines(self.machines.len()));
        }
        found.extend(counted(self.contradicted).map(Finding::Contradicted));
        if self.heartbeat_age.is_none_or(|age| age > SILENT_AFTER) {
            found.push(Finding::Silent(self.heartbeat_age));
        } else if self.collector_up == Some(false) {
            found.push(Finding::CollectorDown);
        } else if self.collector_up.is_none() && self.shipped_age.is_some() {
            found.push(Finding::NotRecording);
        }
        found.extend(counted(self.lost).map(Finding::Lost));
        found.extend(counted(self.dropped).map(Finding::Dropped));
        found.extend(counted(self.unstamped).map(Finding::Unstamped));
        let clock = self.clock_offset_s;
        found.extend(clock.filter(|&by| is_wrong_clock(by)).map(Finding::Clock));
        let behind = self.oldest_unshipped_age.filter(|age| *age > BEHIND_AFTER);
        found.extend(behind.map(Finding::Behind));
        found.extend(match self.secret_id_left {
            Some(Duration::ZERO) => Some(Finding::SecretIdExpired),
            Some(left) if left < EXPIRES_WITHIN => Some(Finding::SecretIdExpires(left)),
            _ => None,
        });
        if found.is_empty() && self.problem.is_some() {
            found.push(Finding::Problem);
        }
        found
    }

    /// Says whether a finding is news: a host somebody has put aside is expected to have some.
    pub(crate) fn counts(&self) -> bool {
        self.state == "active"
    }
}

/// Puts the hosts that need a look first, the worst first, and those nobody has heard of last.
pub(crate) fn sort(hosts: &mut [Host]) {
    let group = |host: &Host| {
        let worst = host.findings().first().map(rank);
        let put_aside = worst.is_some() && !host.counts();
        match (worst, host.is_known()) {
            (Some(rank), _) if !put_aside => rank,
            (Some(_), _) => 20,
            (None, true) => 30,
            (None, false) => 40,
        }
    };
    // By name first: the second sort is stable.
    hosts.sort_by(|one, other| order::by_name(&one.name, &other.name));
    hosts.sort_by_cached_key(group);
}

fn rank(finding: &Finding) -> u8 {
    match finding {
        Finding::SeveralMachines(_) => 0,
        Finding::Contradicted(_) => 1,
        Finding::Silent(_) | Finding::NeverReported(_) => 2,
        Finding::CollectorDown | Finding::NotRecording => 3,
        Finding::Lost(_) => 4,
        Finding::Dropped(_) => 5,
        Finding::Unstamped(_) => 6,
        Finding::Clock(_) => 7,
        Finding::Behind(_) => 8,
        Finding::SecretIdExpired => 9,
        Finding::SecretIdExpires(_) => 10,
        Finding::Problem => 11,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A host of which there is nothing to say.
    pub(crate) fn well(name: &str) -> Host {
        Host {
            name: name.to_owned(),
            dc: "fra1".to_owned(),
            state: "active".to_owned(),
            enrolled_age: Some(Duration::from_hours(9 * 24)),
            agent_version: Some("0.1.0".to_owned()),
            heartbeat_age: Some(Duration::from_secs(42)),
            shipped_age: Some(Duration::from_mins(3)),
            collector_up: Some(true),
            mode: Some("best-effort".to_owned()),
            lost: Some(0),
            dropped: Some(0),
            unstamped: Some(0),
            clock_offset_s: Some(0),
            contradicted: None,
            unknown_ca: None,
            backlog_bytes: Some(0),
            oldest_unshipped_age: None,
            secret_id_left: Some(Duration::from_hours(24 * 60)),
            problem: None,
            machines: vec!["m1 at 10.0.0.1".to_owned()],
        }
    }

    #[test]
    fn a_host_that_is_well_has_nothing_to_say() {
        assert_eq!(well("web-1").findings(), []);
    }

    type Change = (Finding, fn(&mut Host));

    #[test]
    fn everything_that_can_be_wrong_is_a_finding_of_its_own() {
        let hour = Duration::from_hours(1);
        let change: [Change; 14] = [
            (Finding::Clock(-30), |h| h.clock_offset_s = Some(-30)),
            (Finding::Clock(10_800), |h| h.clock_offset_s = Some(10_800)),
            (Finding::SeveralMachines(2), |h| {
                h.machines.push("m2".into());
            }),
            (Finding::Silent(Some(hour)), |h| {
                h.heartbeat_age = Some(Duration::from_hours(1));
            }),
            (Finding::Silent(None), |h| h.heartbeat_age = None),
            (Finding::CollectorDown, |h| h.collector_up = Some(false)),
            (Finding::NotRecording, |h| h.collector_up = None),
            (Finding::Lost(3), |h| h.lost = Some(3)),
            (Finding::Dropped(4), |h| h.dropped = Some(4)),
            (Finding::Unstamped(1), |h| h.unstamped = Some(1)),
            (Finding::Contradicted(2), |h| h.contradicted = Some(2)),
            (Finding::Behind(hour), |h| {
                h.oldest_unshipped_age = Some(Duration::from_hours(1));
            }),
            (Finding::SecretIdExpired, |h| {
                h.secret_id_left = Some(Duration::ZERO);
            }),
            (Finding::Problem, |h| h.problem = Some("x".into())),
        ];
        for (finding, change) in change {
            let mut host = well("web-1");
            change(&mut host);
            assert_eq!(host.findings(), [finding]);
        }
    }

    #[test]
    fn a_host_is_expected_within_an_hour_of_its_enrolment() {
        let mut host = Host::default();
        assert_eq!(host.findings(), [], "not enrolled");
        host.enrolled_age = Some(EXPECTED_WITHIN);
        assert_eq!(host.findings(), []);
        let late = EXPECTED_WITHIN + Duration::from_secs(1);
        host.enrolled_age = Some(late);
        assert_eq!(host.findings(), [Finding::NeverReported(late)]);
    }

    #[test]
    fn a_host_with_a_heartbeat_alone_is_well() {
        let mut host = well("web-1");
        (host.shipped_age, host.collector_up, host.mode) = (None, None, None);
        assert_eq!(host.findings(), []);
    }

    #[test]
    fn the_worst_come_first_and_what_nobody_heard_of_last() {
        let mut lossy = well("a-lossy");
        lossy.lost = Some(1);
        let mut silent = well("z-silent");
        silent.heartbeat_age = Some(Duration::from_hours(9));
        let mut aside = well("b-aside");
        (aside.heartbeat_age, aside.state) = (None, "maintenance".to_owned());
        let never = Host {
            name: "a-never".to_owned(),
            state: "active".to_owned(),
            ..Host::default()
        };
        let mut hosts = [never, well("b-well"), aside, lossy, silent, well("a-well")];
        sort(&mut hosts);
        let names = hosts.map(|host| host.name);
        assert_eq!(
            names,
            [
                "z-silent", "a-lossy", "b-aside", "a-well", "b-well", "a-never"
            ]
        );
    }
}
