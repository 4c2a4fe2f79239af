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

/// Width of the column with the names.
const BEFORE: usize = 14;
/// Maximum number of terminal lines for one value.
const MOST_LINES: usize = 12;

/// Writes one line per access; `wide` writes every column.
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

/// Writes each access as a block of `name value` lines, without the unknown values.
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

/// Writes one line about the beginning or the end of an access: time, user, target, result, command or error.
pub(crate) fn write_change(out: &mut dyn Write, access: &Access, is_end: bool) -> io::Result<()> {
    let [_, user, host, source_ip, _, target, jump, result] = plain(access, false).map(dash);
    let time = access
        .closed_at
        .filter(|_| is_end)
        .unwrap_or(access.opened_at);
    let what = if is_end { result } else { "opened".to_owned() };
    let mut line = format!("{}  {user}  {host}  {target}  {what}", time::seconds(time));
    if !is_end {
        let _ = write!(line, "  from {source_ip}");
        if !access.jump_via.is_empty() {
            let _ = write!(line, "  via {jump}");
        }
    }
    for (name, value) in [
        ("serial", shown(access.serial)),
        (
            "command",
            optional(access.command.as_deref().filter(|_| !is_end)),
        ),
        (
            "error",
            optional(access.error.as_deref().filter(|_| is_end)),
        ),
    ] {
        if !value.is_empty() {
            let _ = write!(line, "  {name} {value}");
        }
    }
    writeln!(out, "{line}")
}

/// Returns the known values of an access, with their names.
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
            // The line `source` has the address too, with its port.
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

/// Returns the cells of all columns; an unknown value is an empty cell.
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

/// Returns `ok`, `ok, exit 1`, `failed`. If the client does not know the end, the host's record is added:
/// `closed, exit 0`. A row that reached the store late is marked.
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
        // The word `open` is there already.
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

/// Replaces an empty cell by `-`: an empty one would shift the fields for a program that splits at blanks.
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
    fn list_matches_the_documented_columns() {
        let list = rendered(|out| write(out, &accesses(), false, Layout::default()));
        assert_golden("audit.txt", &list);
        let list = rendered(|out| write(out, &accesses(), true, Layout::default()));
        assert_golden("audit-wide.txt", &list);
        let list = rendered(|out| write_detail(out, &accesses(), Layout::default()));
        assert_golden("audit-detail.txt", &list);
    }

    #[test]
    fn csv_has_one_line_per_access_and_no_formula() {
        let csv = rendered(|out| records::write(out, OutputFormat::Csv, &Accesses, &accesses()));
        assert_golden("audit.csv", &csv);
        assert_eq!(csv.matches("\r\n").count(), 4);
        assert!(!csv.contains(",=") && !csv.contains(",\"=") && !csv.contains(",@"));
    }
}
