//! The findings about a host, and the order of hosts by severity. Pure.

use std::time::Duration;

use vctl_common::time::is_wrong_clock;

use crate::inventory::order;

/// Time without a heartbeat after which a host is silent: two usual intervals.
pub(crate) const SILENT_AFTER: Duration = Duration::from_mins(10);
/// Time after enrolment within which a host has to report: the default lifetime of a wrapped secret id.
const EXPECTED_WITHIN: Duration = Duration::from_hours(1);
/// Age of the oldest unsent event above which a host is behind. Normally a batch is sent within seconds.
const BEHIND_AFTER: Duration = Duration::from_mins(10);
/// Remaining time of a secret id below which a host has a finding: a week is enough to enrol it again.
const EXPIRES_WITHIN: Duration = Duration::from_hours(7 * 24);

/// One host and its last report. Counters are since its boot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FleetHost {
    pub(crate) name: String,
    pub(crate) dc: String,
    /// `active`, `maintenance` or `broken`.
    pub(crate) state: String,
    pub(crate) agent_version: Option<String>,
    /// Time since its last enrolment; `None` if it is not enrolled, or was before the column existed.
    pub(crate) enrolled_age: Option<Duration>,
    /// `None` if it never sent one.
    pub(crate) heartbeat_age: Option<Duration>,
    /// Time since its collector last sent events.
    pub(crate) shipped_age: Option<Duration>,
    /// `None` if no collector has run since the boot.
    pub(crate) collector_up: Option<bool>,
    pub(crate) mode: Option<String>,
    pub(crate) lost: Option<u64>,
    pub(crate) dropped: Option<u64>,
    pub(crate) unstamped: Option<u64>,
    /// Seconds by which its clock is ahead of the database's; negative if behind.
    pub(crate) clock_offset_s: Option<i64>,
    /// Logins of the last seven days that an access row, a certificate or another session contradicts.
    pub(crate) contradicted: Option<u64>,
    /// Logins of the last seven days with a certificate of a CA that is not ours.
    pub(crate) unknown_ca: Option<u64>,
    pub(crate) backlog_bytes: Option<u64>,
    pub(crate) oldest_unshipped_age: Option<Duration>,
    /// Remaining time of its credential for Vault; zero if expired.
    pub(crate) secret_id_left: Option<Duration>,
    /// Problem that the host's agent reports.
    pub(crate) problem: Option<String>,
    /// Machines that reported for this host within ten minutes.
    pub(crate) machines: Vec<String>,
}

/// A reason why a host needs attention, the worst first.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(crate) enum HostFinding {
    /// Several machines use one credential: it is unknown which of them is the host.
    SeveralMachines(usize),
    /// Logins reported by the host contradict their certificates or access-log rows.
    Contradicted(u64),
    /// No heartbeat for ten minutes; `None` if its collector sends events but no heartbeat ever arrived.
    Silent(Option<Duration>),
    /// Enrolled an hour ago or more, and never reported.
    NeverReported(Duration),
    /// Its collector ran since the boot, and does not answer now.
    CollectorDown,
    /// It recorded before, but no collector has run since its boot.
    NotRecording,
    Lost(u64),
    Dropped(u64),
    Unstamped(u64),
    /// Its clock differs from the database's by 30 seconds or more; seconds ahead.
    Clock(i64),
    /// The oldest event not yet sent is older than ten minutes.
    Behind(Duration),
    SecretIdExpired,
    SecretIdExpires(Duration),
    /// The host reports a problem that is none of the above.
    Problem,
}

impl FleetHost {
    /// Returns whether the host ever reported.
    pub(crate) fn is_known(&self) -> bool {
        self.heartbeat_age.is_some() || self.shipped_age.is_some()
    }

    /// Returns the findings, the worst first.
    pub(crate) fn findings(&self) -> Vec<HostFinding> {
        if !self.is_known() {
            let overdue = self.enrolled_age.filter(|age| *age > EXPECTED_WITHIN);
            return overdue
                .map(HostFinding::NeverReported)
                .into_iter()
                .collect();
        }
        let counted = |count: Option<u64>| count.filter(|&count| count > 0);
        let mut found = Vec::new();
        if self.machines.len() > 1 {
            found.push(HostFinding::SeveralMachines(self.machines.len()));
        }
        found.extend(counted(self.contradicted).map(HostFinding::Contradicted));
        if self.heartbeat_age.is_none_or(|age| age > SILENT_AFTER) {
            found.push(HostFinding::Silent(self.heartbeat_age));
        } else if self.collector_up == Some(false) {
            found.push(HostFinding::CollectorDown);
        } else if self.collector_up.is_none() && self.shipped_age.is_some() {
            found.push(HostFinding::NotRecording);
        }
        found.extend(counted(self.lost).map(HostFinding::Lost));
        found.extend(counted(self.dropped).map(HostFinding::Dropped));
        found.extend(counted(self.unstamped).map(HostFinding::Unstamped));
        let clock = self.clock_offset_s;
        found.extend(
            clock
                .filter(|&by| is_wrong_clock(by))
                .map(HostFinding::Clock),
        );
        let behind = self.oldest_unshipped_age.filter(|age| *age > BEHIND_AFTER);
        found.extend(behind.map(HostFinding::Behind));
        found.extend(match self.secret_id_left {
            Some(Duration::ZERO) => Some(HostFinding::SecretIdExpired),
            Some(left) if left < EXPIRES_WITHIN => Some(HostFinding::SecretIdExpires(left)),
            _ => None,
        });
        if found.is_empty() && self.problem.is_some() {
            found.push(HostFinding::Problem);
        }
        found
    }

    /// Returns whether findings count: a host in maintenance or marked broken is expected to have some.
    pub(crate) fn counts(&self) -> bool {
        self.state == "active"
    }
}

/// Sorts the hosts: those with findings first, the worst first, and those that never reported last.
pub(crate) fn sort(hosts: &mut [FleetHost]) {
    let group = |host: &FleetHost| {
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

fn rank(finding: &HostFinding) -> u8 {
    match finding {
        HostFinding::SeveralMachines(_) => 0,
        HostFinding::Contradicted(_) => 1,
        HostFinding::Silent(_) | HostFinding::NeverReported(_) => 2,
        HostFinding::CollectorDown | HostFinding::NotRecording => 3,
        HostFinding::Lost(_) => 4,
        HostFinding::Dropped(_) => 5,
        HostFinding::Unstamped(_) => 6,
        HostFinding::Clock(_) => 7,
        HostFinding::Behind(_) => 8,
        HostFinding::SecretIdExpired => 9,
        HostFinding::SecretIdExpires(_) => 10,
        HostFinding::Problem => 11,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A host without findings.
    pub(crate) fn well(name: &str) -> FleetHost {
        FleetHost {
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
    fn healthy_host_has_no_findings() {
        assert_eq!(well("web-1").findings(), []);
    }

    type Change = (HostFinding, fn(&mut FleetHost));

    #[test]
    fn each_fault_has_its_own_finding() {
        let hour = Duration::from_hours(1);
        let change: [Change; 14] = [
            (HostFinding::Clock(-30), |h| h.clock_offset_s = Some(-30)),
            (HostFinding::Clock(10_800), |h| {
                h.clock_offset_s = Some(10_800);
            }),
            (HostFinding::SeveralMachines(2), |h| {
                h.machines.push("m2".into());
            }),
            (HostFinding::Silent(Some(hour)), |h| {
                h.heartbeat_age = Some(Duration::from_hours(1));
            }),
            (HostFinding::Silent(None), |h| h.heartbeat_age = None),
            (HostFinding::CollectorDown, |h| h.collector_up = Some(false)),
            (HostFinding::NotRecording, |h| h.collector_up = None),
            (HostFinding::Lost(3), |h| h.lost = Some(3)),
            (HostFinding::Dropped(4), |h| h.dropped = Some(4)),
            (HostFinding::Unstamped(1), |h| h.unstamped = Some(1)),
            (HostFinding::Contradicted(2), |h| h.contradicted = Some(2)),
            (HostFinding::Behind(hour), |h| {
                h.oldest_unshipped_age = Some(Duration::from_hours(1));
            }),
            (HostFinding::SecretIdExpired, |h| {
                h.secret_id_left = Some(Duration::ZERO);
            }),
            (HostFinding::Problem, |h| h.problem = Some("x".into())),
        ];
        for (finding, change) in change {
            let mut host = well("web-1");
            change(&mut host);
            assert_eq!(host.findings(), [finding]);
        }
    }

    #[test]
    fn host_has_to_report_within_an_hour_of_enrolment() {
        let mut host = FleetHost::default();
        assert_eq!(host.findings(), [], "not enrolled");
        host.enrolled_age = Some(EXPECTED_WITHIN);
        assert_eq!(host.findings(), []);
        let late = EXPECTED_WITHIN + Duration::from_secs(1);
        host.enrolled_age = Some(late);
        assert_eq!(host.findings(), [HostFinding::NeverReported(late)]);
    }

    #[test]
    fn host_that_only_sends_heartbeats_is_healthy() {
        let mut host = well("web-1");
        (host.shipped_age, host.collector_up, host.mode) = (None, None, None);
        assert_eq!(host.findings(), []);
    }

    #[test]
    fn worst_hosts_come_first_and_unheard_ones_last() {
        let mut lossy = well("a-lossy");
        lossy.lost = Some(1);
        let mut silent = well("z-silent");
        silent.heartbeat_age = Some(Duration::from_hours(9));
        let mut aside = well("b-aside");
        (aside.heartbeat_age, aside.state) = (None, "maintenance".to_owned());
        let never = FleetHost {
            name: "a-never".to_owned(),
            state: "active".to_owned(),
            ..FleetHost::default()
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
