//! The table of hosts, by data centre.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use vctl_common::charset;
use vctl_common::count::counted;

use crate::inventory::{Host, HostState, Liveness};
use crate::ui::columns::Columns;
use crate::ui::wrap::wrapped;
use crate::ui::{BOLD, DIM, Layout, sanitize, time};

/// The amount of detail for each host.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Detail {
    /// Show all columns.
    pub(crate) wide: bool,
    /// Show all addresses, not only the number of additional ones.
    pub(crate) all_ips: bool,
}

const PLAIN: Columns<6> = Columns {
    names: ["HOST", "ADDRESS", "USER", "JUMP", "LIVE", "AGENT"],
    elastic: &[0, 1, 2, 3, 4],
    spare: &[],
};

const WIDE: Columns<10> = Columns {
    names: [
        "HOST", "ADDRESS", "USER", "JUMP", "LIVE", "AGENT", "VERSION", "PROBED", "CA ROLE", "TAGS",
    ],
    elastic: &[0, 1, 2, 3, 4, 6, 8, 9],
    spare: &[],
};

/// Writes hosts, which must be sorted by data centre. `now` is the database's clock; `None` for cached hosts,
/// whose liveness is unknown.
pub(crate) fn write(
    out: &mut dyn Write,
    hosts: &[Host],
    now: Option<SystemTime>,
    detail: Detail,
    layout: Layout,
) -> io::Result<()> {
    let groups: Vec<&[Host]> = hosts.chunk_by(|one, other| one.dc == other.dc).collect();
    if detail.wide {
        let groups = groups.iter().map(|hosts| {
            let rows = hosts.iter().map(|host| wide(host, now, detail));
            (title(hosts, now, layout), rows.collect())
        });
        WIDE.write_groups(out, &groups.collect::<Vec<_>>(), layout)?;
    } else {
        let groups = groups.iter().map(|hosts| {
            let rows = hosts.iter().map(|host| plain(host, now, detail));
            (title(hosts, now, layout), rows.collect())
        });
        PLAIN.write_groups(out, &groups.collect::<Vec<_>>(), layout)?;
    }
    let all = hosts.len();
    let unknown = count(hosts, now, Liveness::is_unknown);
    let up = match now {
        Some(_) if unknown < all => format!("{} of ", count(hosts, now, Liveness::is_up)),
        _ => String::new(),
    };
    let is_up = if up.is_empty() { "" } else { " up" };
    writeln!(
        out,
        "\n{DIM}{up}{}{is_up}{}, in {}{DIM:#}",
        counted(all, "host"),
        and_unknown(unknown, now),
        counted(groups.len(), "data centre")
    )
}

/// Returns the part of a total for hosts that were never tested.
fn and_unknown(count: usize, now: Option<SystemTime>) -> String {
    match (count, now) {
        (0, _) | (_, None) => String::new(),
        (count, Some(_)) => format!(", {count} unknown"),
    }
}

/// Writes the route to a host, one hop a line, the first jump host first.
pub(crate) fn write_route(out: &mut dyn Write, hops: &[Host], layout: Layout) -> io::Result<()> {
    let rows = hops.iter().enumerate().map(|(index, hop)| {
        [
            (index + 1).to_string(),
            sanitize::text(&hop.name),
            address(hop),
            sanitize::text(&hop.ssh_user),
            sanitize::text(&hop.ca_role),
        ]
    });
    let columns = Columns {
        names: ["HOP", "HOST", "ADDRESS", "USER", "CA ROLE"],
        elastic: &[1, 2, 3, 4],
        spare: &[],
    };
    columns.write(out, &rows.collect::<Vec<_>>(), layout)
}

/// Maximum width of the counts in a title.
const TITLE: usize = 24;

fn title(hosts: &[Host], now: Option<SystemTime>, layout: Layout) -> String {
    let dc = hosts.first().map_or("", |host| host.dc.as_str());
    let dc = if dc.is_empty() {
        "(no dc)".to_owned()
    } else {
        sanitize::text(dc)
    };
    // The rest of the line belongs to the counts: a title has one line.
    let room = layout
        .width
        .map_or(usize::MAX, |width| width.saturating_sub(TITLE).max(TITLE));
    let dc = wrapped(&dc, room, 1).concat();
    let all = hosts.len();
    let unknown = count(hosts, now, Liveness::is_unknown);
    let total = match now {
        Some(_) if unknown == all => format!("{unknown} unknown"),
        Some(_) => {
            let up = count(hosts, now, Liveness::is_up);
            format!("{up}/{all} up{}", and_unknown(unknown, now))
        }
        None => all.to_string(),
    };
    let dot = charset::shown("·");
    format!("{BOLD}{dc}{BOLD:#} {dot} {total}")
}

fn count(hosts: &[Host], now: Option<SystemTime>, which: fn(Liveness) -> bool) -> usize {
    let counted = hosts.iter().filter(|host| which(host.liveness(now)));
    counted.count()
}

fn plain(host: &Host, now: Option<SystemTime>, detail: Detail) -> [String; 6] {
    let jump = host.jump_via.as_ref();
    let agent = host.agent_age(now);
    [
        sanitize::text(&host.name),
        addresses(host, detail.all_ips),
        sanitize::text(&host.ssh_user),
        jump.map_or_else(|| "direct".to_owned(), sanitize::text),
        live(host, now),
        agent.map_or_else(|| "-".to_owned(), time::age),
    ]
}

fn wide(host: &Host, now: Option<SystemTime>, detail: Detail) -> [String; 10] {
    let [name, address, user, jump, live, agent] = plain(host, now, detail);
    let dash = || "-".to_owned();
    let version = host.agent.as_ref();
    let tags: Vec<String> = host.tags.iter().map(sanitize::text).collect();
    [
        name,
        address,
        user,
        jump,
        live,
        agent,
        version.map_or_else(dash, |agent| sanitize::text(&agent.version)),
        host.last_seen_up.map_or_else(dash, time::seconds),
        sanitize::text(&host.ca_role),
        if tags.is_empty() {
            dash()
        } else {
            tags.join(",")
        },
    ]
}

/// Returns the liveness of a host and, unless it is active, its state.
pub(crate) fn live(host: &Host, now: Option<SystemTime>) -> String {
    let seen = host.liveness(now).word();
    match host.state {
        HostState::Active => seen.to_owned(),
        state => format!("{seen}, {}", state.word()),
    }
}

/// Returns the address to connect to, with the port unless it is 22.
pub(crate) fn address(host: &Host) -> String {
    match host.ssh_port {
        22 => host.ip.to_string(),
        port => SocketAddr::new(host.ip, port).to_string(),
    }
}

fn addresses(host: &Host, all: bool) -> String {
    let more: Vec<IpAddr> = host.addresses().into_iter().skip(1).collect();
    let mut text = address(host);
    match (&more[..], all) {
        ([], _) => {}
        (more, false) => text.extend([" (+", &more.len().to_string(), ")"]),
        (more, true) => {
            for ip in more {
                text.extend([" ", &ip.to_string()]);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::fixture::{assert_golden, rendered};
    use crate::inventory::AgentSeen;
    use crate::inventory::json::Hosts;
    use crate::inventory::tests::host;
    use crate::ui::format::OutputFormat;
    use crate::ui::json::schema;
    use crate::ui::records;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
    }

    fn hosts() -> Vec<Host> {
        let ip = |text: &str| text.parse().unwrap();
        let ago = |seconds| now() - Duration::from_secs(seconds);
        let agent = |seconds| {
            Some(AgentSeen {
                version: "0.1.0".to_owned(),
                reported_at: ago(seconds),
                clock_offset_s: None,
            })
        };
        let mut hosts = ["blank", "jump-1", "web-1", "web-2", "web-3"].map(host);
        let [blank, jump, web, old, far] = &mut hosts;
        blank.dc = String::new();
        blank.tags = vec!["a,b".to_owned(), "=cmd()".to_owned()];
        jump.dc = "incheon".to_owned();
        (jump.ip, jump.ssh_port) = (ip("2001:db8::7"), 2222);
        jump.last_seen_up = Some(ago(86_400));
        web.agent = agent(90);
        web.jump_via = Some("jump-1".to_owned());
        web.extra_ips = vec![ip("10.0.0.1")];
        web.observed_ips = vec![ip("10.0.0.1"), ip("172.17.0.1")];
        old.agent = agent(3 * 86_400 + 4_000);
        old.state = HostState::Maintenance;
        far.ssh_user = "wéird\u{202e}\u{1b}[31muser".to_owned();
        far.ssh_port = 2222;
        hosts.into()
    }

    #[test]
    fn hosts_are_listed_by_data_centre() {
        let list =
            |detail| rendered(|out| write(out, &hosts(), Some(now()), detail, Layout::default()));
        assert_golden("hosts.txt", &list(Detail::default()));
        let all = Detail {
            wide: true,
            all_ips: true,
        };
        assert_golden("hosts-wide.txt", &list(all));
    }

    #[test]
    fn cached_hosts_are_neither_up_nor_down() {
        let write =
            |out: &mut dyn Write| write(out, &hosts(), None, Detail::default(), Layout::default());
        let list = rendered(write);
        assert!(!list.contains("up") && !list.contains("down"), "{list}");
        assert_eq!(list.matches('?').count(), hosts().len(), "{list}");
        assert!(list.ends_with("\n5 hosts, in 3 data centres\n"), "{list}");
    }

    #[test]
    fn a_narrow_terminal_does_not_break_lines() {
        let layout = Layout {
            width: Some(60),
            full: false,
        };
        let list = rendered(|out| write(out, &hosts(), Some(now()), Detail::default(), layout));
        for line in list.lines() {
            assert!(line.width() <= 60, "{line}");
        }
    }

    #[test]
    fn each_format_for_programs_matches_the_documentation() {
        for (form, golden) in [
            (OutputFormat::Json, "hosts.json"),
            (OutputFormat::Jsonl, "hosts.jsonl"),
            (OutputFormat::Yaml, "hosts.yaml"),
            (OutputFormat::Csv, "hosts.csv"),
            (OutputFormat::Name, "hosts.names"),
        ] {
            let kind = Hosts { now: Some(now()) };
            let text = rendered(|out| records::write(out, form, &kind, &hosts()));
            assert_golden(golden, &text);
            if form == OutputFormat::Json {
                let document = serde_json::from_str(&text).unwrap();
                schema::assert_fits(schema::OF_HOSTS, None, &document);
            }
        }
    }

    #[test]
    fn a_route_begins_with_the_first_jump_host() {
        let hops = &hosts()[1..3];
        let way = rendered(|out| write_route(out, hops, Layout::default()));
        assert_golden("route.txt", &way);
    }
}
