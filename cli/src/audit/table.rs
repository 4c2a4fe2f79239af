//! Accesses as a table or as CSV.

use std::fmt::Write as _;
use std::io::{self, Write};

use vctl_common::id::SessionId;

use crate::audit::model::{Access, OnHost};
use crate::session::linux::signal_name;
use crate::ui::columns::Columns;
use crate::ui::sanitize::text;
use crate::ui::wrap::wrapped;
use crate::ui::{DIM, Layout, time};

const PLAIN: Columns<8> = Columns {
    names: [
        "TIME",
        "USER",
        "HOST",
        "SOURCE IP",
        "CLIENT USER",
        "TARGET",
        "JUMP",
        "RESULT",
    ],
    elastic: &[1, 2, 3, 4, 5, 6, 7],
    spare: &[6, 4, 3],
};

const DETAILED: Columns<16> = Columns {
    names: [
        "TIME",
        "USER",
        "HOST",
        "SOURCE IP",
        "CLIENT USER",
        "TARGET",
        "JUMP",
        "RESULT",
        "CLIENT HOST",
        "SOURCE",
        "SERIAL",
        "COMMAND",
        "VCTL",
        "ERROR",
        "SESSIONS",
        "CONTRADICTED",
    ],
    elastic: &[],
    spare: &[],
};

/// Columns before what there is to say.
const BEFORE: usize = 14;
/// Lines of one fact on a terminal.
const MOST_LINES: usize = 12;

/// Writes one line for each access; `wide` has every column.
pub(crate) fn write(
    out: &mut dyn Write,
    accesses: &[Access],
    wide: bool,
    layout: Layout,
) -> io::Result<()> {
    if wide {
        let rows: Vec<_> = accesses
            .iter()
            .map(|access| detailed(access).map(dash))
            .collect();
        return DETAILED.write(out, &rows, layout);
    }
    let rows: Vec<_> = accesses
        .iter()
        .map(|access| plain(access, false).map(dash))
        .collect();
    PLAIN.write(out, &rows, layout)
}

/// Writes each access as a record, one fact a line; what is not known has none.
pub(crate) fn write_detail(
    out: &mut dyn Write,
    accesses: &[Access],
    layout: Layout,
) -> io::Result<()> {
    for (index, access) in accesses.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        for (name, text) in facts(access) {
            let lines = match layout.width {
                None => vec![text],
                Some(width) => {
                    let room = width.saturating_sub(BEFORE).max(BEFORE);
                    wrapped(&text, room, MOST_LINES)
                }
            };
            for (nth, line) in lines.iter().enumerate() {
                let name = if nth == 0 { name } else { "" };
                writeln!(out, "{DIM}{name:<BEFORE$}{DIM:#}{line}")?;
            }
        }
    }
    Ok(())
}

/// Returns what is known of an access, under names of its own.
fn facts(access: &Access) -> Vec<(&'static str, String)> {
    const NAMES: [&str; 16] = [
        "time",
        "user",
        "host",
        "source ip",
        "client user",
        "target",
        "jump",
        "result",
        "client host",
        "source",
        "serial",
        "command",
        "vctl",
        "error",
        "session",
        "contradicted",
    ];
    let mut facts = Vec::new();
    for (name, cell) in NAMES.into_iter().zip(detailed(access)) {
        match name {
            // The source has it, with its port.
            "source ip" => {}
            "session" => facts.extend(access.sessions.iter().map(|id| (name, id.to_string()))),
            "contradicted" => {
                let ids = access.contradicted.iter();
                facts.extend(ids.map(|id| (name, format!("session {id}"))));
            }
            _ if cell.is_empty() => {}
            _ => facts.push((name, cell)),
        }
    }
    facts
}

fn plain(access: &Access, detail: bool) -> [String; 8] {
    let person = if detail {
        access.person.display_name()
    } else {
        access.person.name()
    };
    let target = access.target_addr.map_or_else(String::new, |addr| {
        let port = access.target_port.filter(|&port| port != 22);
        port.map_or_else(
            || addr.to_string(),
            |port| std::net::SocketAddr::new(addr, port).to_string(),
        )
    });
    let jumps: Vec<String> = access.jump_via.iter().map(text).collect();
    [
        time::seconds(access.opened_at),
        text(person),
        text(&access.host),
        shown(access.source_ip),
        optional(access.client_user.as_deref()),
        format!("{}@{target}", text(&access.login_user))
            .trim_end_matches('@')
            .to_owned(),
        jumps.join(","),
        result(access),
    ]
}

/// Returns the cell of each column there is; an empty one where nothing is known.
pub(crate) fn detailed(access: &Access) -> [String; 16] {
    let [
        time,
        user,
        host,
        source_ip,
        client_user,
        target,
        jump,
        result,
    ] = plain(access, true);
    let source = match (access.source_ip, access.source_port) {
        (Some(ip), Some(port)) => std::net::SocketAddr::new(ip, port).to_string(),
        (ip, _) => shown(ip),
    };
    let ids = |ids: &[SessionId]| {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        ids.join(",")
    };
    [
        time,
        user,
        host,
        source_ip,
        client_user,
        target,
        jump,
        result,
        optional(access.client_host.as_deref()),
        source,
        shown(access.serial),
        optional(access.command.as_deref()),
        optional(access.vctl_version.as_deref()),
        optional(access.error.as_deref()),
        ids(&access.sessions),
        ids(&access.contradicted),
    ]
}

/// `ok`, `ok, exit 1`, `failed`; where the client does not know how it ended, what the host recorded:
/// `closed, exit 0`. A row that was written afterwards says so.
fn result(access: &Access) -> String {
    let mut result = text(&access.result);
    if let Some(code) = access.exit_code.filter(|&code| code != 0) {
        let _ = write!(result, ", exit {code}");
    }
    let is_open = access.result == "open";
    match access.on_host {
        None => {}
        Some(OnHost::Exited { code, .. }) => {
            let _ = write!(result, ", exit {code}");
        }
        Some(OnHost::Killed { signal, .. }) => {
            let _ = write!(result, ", {}", signal_name(signal));
        }
        Some(OnHost::Ended { .. }) => result += ", session ended",
        // That is what `open` says.
        Some(OnHost::Open | OnHost::Unknown) if is_open => {}
        Some(OnHost::Open) => result += ", session open",
        Some(OnHost::Unknown) => result += ", unknown",
    }
    if access.replayed {
        result += ", recorded later";
    }
    result
}

fn optional(value: Option<&str>) -> String {
    value.map(text).unwrap_or_default()
}

fn shown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// An empty cell would shift the others for a reader who counts words.
fn dash(cell: String) -> String {
    if cell.is_empty() {
        "-".to_owned()
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::json::Accesses;
    use crate::fixture::{accesses, assert_golden, rendered};
    use crate::ui::format::OutputFormat;
    use crate::ui::records;

    #[test]
    fn a_list_says_who_asked_for_what_from_where_and_how_it_ended() {
        let list = rendered(|out| write(out, &accesses(), false, Layout::default()));
        assert_golden("audit.txt", &list);
        let list = rendered(|out| write(out, &accesses(), true, Layout::default()));
        assert_golden("audit-wide.txt", &list);
        let list = rendered(|out| write_detail(out, &accesses(), Layout::default()));
        assert_golden("audit-detail.txt", &list);
    }

    #[test]
    fn csv_has_one_line_for_each_access_and_no_formula() {
        let csv = rendered(|out| records::write(out, OutputFormat::Csv, &Accesses, &accesses()));
        assert_golden("audit.csv", &csv);
        assert_eq!(csv.matches("\r\n").count(), 4);
        assert!(!csv.contains(",=") && !csv.contains(",\"=") && !csv.contains(",@"));
    }
}
