//! Hosts as a table, one per line, with their findings in words.

use std::io::{self, Write};
use std::time::Duration;

use vctl_common::count::{counted, form};

use vctl_common::time::is_wrong_clock;

use crate::fleet::model::{FleetHost, HostFinding};
use crate::ui::columns::Columns;
use crate::ui::{Layout, WARN, paragraph, sanitize, size, time};

const COLUMNS: Columns<11> = Columns {
    names: [
        "HOST",
        "DC",
        "AGENT",
        "HEARTBEAT",
        "MODE",
        "LOST",
        "UNSTAMPED",
        "DOUBTFUL",
        "BACKLOG",
        "SECRET ID",
        "STATE",
    ],
    // The names and the words.
    elastic: &[0, 1, 2, 4, 10],
    spare: &[4, 2, 9, 6, 8],
};

/// Indentation of the lines of a note after its first.
const NOTE_INDENT: usize = 2;

/// Writes one line per host, and below the table the problems of each host.
pub(crate) fn write(out: &mut dyn Write, hosts: &[FleetHost], layout: Layout) -> io::Result<()> {
    let rows: Vec<[String; 11]> = hosts.iter().map(row).collect();
    COLUMNS.write(out, &rows, layout)?;
    let mut first = true;
    for host in hosts {
        for note in notes(host) {
            if std::mem::take(&mut first) {
                writeln!(out)?;
            }
            let note = format!("{}: {note}", sanitize::text(&host.name));
            paragraph::write_beside(out, NOTE_INDENT, &note, WARN, layout.width)?;
        }
    }
    Ok(())
}

fn row(host: &FleetHost) -> [String; 11] {
    let dash = || "-".to_owned();
    let word = |word: &Option<String>| word.as_ref().map_or_else(dash, sanitize::text);
    let count = |count: Option<u64>| count.map_or_else(dash, |count| count.to_string());
    let lost = match (host.lost, host.dropped) {
        (None, None) => dash(),
        (lost, dropped) => lost
            .unwrap_or(0)
            .saturating_add(dropped.unwrap_or(0))
            .to_string(),
    };
    [
        sanitize::text(&host.name),
        sanitize::text(&host.dc),
        word(&host.agent_version),
        host.heartbeat_age
            .map_or_else(|| "never".to_owned(), time::age),
        word(&host.mode),
        lost,
        count(host.unstamped),
        count(host.contradicted),
        backlog(host),
        host.secret_id_left.map_or_else(dash, left),
        state(host),
    ]
}

fn backlog(host: &FleetHost) -> String {
    let bytes = host.backlog_bytes.map(size::bytes);
    match (bytes, host.oldest_unshipped_age) {
        (None, _) => "-".to_owned(),
        (Some(bytes), None) => bytes,
        (Some(bytes), Some(oldest)) => format!("{bytes}, {}", time::duration(oldest)),
    }
}

/// Returns the state of a host as words; `vctl fleet --help` explains them.
pub(crate) fn state(host: &FleetHost) -> String {
    let findings = host.findings();
    let mut words: Vec<String> = findings.iter().map(finding).collect();
    if words.is_empty() {
        words.push(if host.is_known() { "ok" } else { "no agent" }.to_owned());
    }
    if !host.counts() {
        words.insert(0, sanitize::text(&host.state));
    }
    words.join(", ")
}

fn finding(finding: &HostFinding) -> String {
    match finding {
        HostFinding::SeveralMachines(count) => format!("{count} machines"),
        HostFinding::Contradicted(count) => format!("contradicted {count}"),
        HostFinding::Silent(None) => "silent".to_owned(),
        HostFinding::Silent(Some(since)) => format!("silent for {}", time::duration(*since)),
        HostFinding::NeverReported(age) => {
            format!("enrolled {} ago, never reported", time::duration(*age))
        }
        HostFinding::CollectorDown => "collector down".to_owned(),
        HostFinding::NotRecording => "not recording".to_owned(),
        HostFinding::Lost(count) => format!("lost {count}"),
        HostFinding::Dropped(count) => format!("dropped {count}"),
        HostFinding::Unstamped(count) => format!("unstamped {count}"),
        HostFinding::Clock(ahead) => format!("clock {}", time::ahead(*ahead)),
        HostFinding::Behind(by) => format!("behind by {}", time::duration(*by)),
        HostFinding::SecretIdExpired => "secret id expired".to_owned(),
        HostFinding::SecretIdExpires(left) => {
            format!("secret id ends in {}", time::duration(*left))
        }
        HostFinding::Problem => "ill".to_owned(),
    }
}

fn notes(host: &FleetHost) -> Vec<String> {
    let mut notes = Vec::new();
    if host.machines.len() > 1 {
        let machines: Vec<String> = host.machines.iter().map(sanitize::text).collect();
        notes.push(format!(
            "several machines use its credential: {}; revoke it with `vctl host revoke`, then enrol the right machine",
            machines.join(", ")
        ));
    }
    if host.contradicted.is_some_and(|count| count > 0) {
        let name = sanitize::text(&host.name);
        notes.push(format!(
            "logins contradict their certificates or access rows: `vctl audit --without-access --host {name}` lists them"
        ));
    }
    if host.clock_offset_s.is_some_and(is_wrong_clock) {
        notes.push(
            "its clock differs from the database's, so it may reject good certificates as expired or not yet valid; set \
             the clock, and enable time synchronization"
                .to_owned(),
        );
    }
    if let Some(problem) = &host.problem {
        notes.push(sanitize::text(problem));
    }
    notes
}

/// Returns one line about the hosts that need attention; `None` if there are none.
pub(crate) fn verdict(hosts: &[FleetHost]) -> Option<String> {
    const MOST: usize = 5;
    let wrong: Vec<&FleetHost> = hosts
        .iter()
        .filter(|host| host.counts() && !host.findings().is_empty())
        .collect();
    if wrong.is_empty() {
        return None;
    }
    let named: Vec<String> = wrong
        .iter()
        .take(MOST)
        .map(|host| format!("{} ({})", host.name, state(host)))
        .collect();
    let more = wrong.len().saturating_sub(MOST);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Some(format!(
        "{} of {} {} attention: {}{rest}",
        wrong.len(),
        counted(hosts.len(), "host"),
        form(wrong.len(), "needs", "need"),
        named.join("; ")
    ))
}

fn left(left: Duration) -> String {
    if left.is_zero() {
        "expired".to_owned()
    } else {
        time::duration(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{assert_golden, rendered};
    use crate::fleet::model::sort;
    use crate::fleet::model::tests::well;

    fn fleet() -> Vec<FleetHost> {
        let mut silent = well("db-1");
        silent.heartbeat_age = Some(Duration::from_hours(49));
        silent.oldest_unshipped_age = Some(Duration::from_hours(50));
        silent.backlog_bytes = Some(9 << 20);
        let mut lossy = well("web-2");
        (lossy.lost, lossy.dropped, lossy.unstamped) = (Some(14), Some(2), Some(1));
        lossy.contradicted = Some(3);
        lossy.problem = Some("the spool cannot be written: \u{1b}[31mfull".to_owned());
        let mut twins = well("web-3");
        twins.machines.push("m2 at 10.0.0.9".to_owned());
        let mut aside = well("old-1");
        (aside.state, aside.heartbeat_age) = ("maintenance".to_owned(), None);
        aside.secret_id_left = Some(Duration::ZERO);
        let never = FleetHost {
            name: "new-1".to_owned(),
            dc: "fra1".to_owned(),
            state: "active".to_owned(),
            ..FleetHost::default()
        };
        let mut hosts = vec![never, well("web-1"), aside, lossy, silent, twins];
        sort(&mut hosts);
        hosts
    }

    #[test]
    fn table_shows_findings_and_notes() {
        let page = rendered(|out| write(out, &fleet(), Layout::default()));
        assert_golden("fleet.txt", &page);
        assert!(!page.contains('\u{1b}'), "{page}");
    }

    #[test]
    fn verdict_is_one_line_without_hosts_in_maintenance() {
        let verdict = verdict(&fleet()).unwrap();
        assert!(
            verdict.starts_with("3 of 6 hosts need attention: web-3 (2 machines); web-2 (contra")
        );
        assert!(
            !verdict.contains("old-1") && !verdict.contains('\n'),
            "{verdict}"
        );
        let many: Vec<FleetHost> = (0..40)
            .map(|n| {
                let mut host = well(&format!("web-{n}"));
                host.lost = Some(1);
                host
            })
            .collect();
        assert!(super::verdict(&many).unwrap().ends_with(" and 35 more"));
        assert_eq!(super::verdict(&[well("web-1")]), None);
    }
}
