//! Accesses as a table or as CSV.

use std::fmt::Write as _;
use std::io::{self, Write};

use vctl_common::id::SessionId;

use super::columns::Columns;
use super::{Layout, sanitize::text, time};
use crate::view::access::Access;

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
    elastic: &[1, 2, 4, 5, 6],
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
    elastic: &[1, 2, 4, 5, 6, 8, 11, 13],
};

pub(crate) fn write(
    out: &mut dyn Write,
    accesses: &[Access],
    detail: bool,
    layout: Layout,
) -> io::Result<()> {
    if detail {
        let rows: Vec<_> = accesses.iter().map(detailed).collect();
        DETAILED.write(out, &rows, layout)
    } else {
        let rows: Vec<_> = accesses.iter().map(|access| plain(access, false)).collect();
        PLAIN.write(out, &rows, layout)
    }
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
    [
        time::seconds(access.opened_at),
        text(person),
        text(&access.host),
        shown(access.source_ip),
        optional(access.client_user.as_deref()),
        dash(format!("{}@{target}", text(&access.login_user)).trim_end_matches('@')),
        dash(
            &access
                .jump_via
                .iter()
                .map(text)
                .collect::<Vec<_>>()
                .join(","),
        ),
        result(access),
    ]
}

/// Returns the cell of each column there is.
pub(super) fn detailed(access: &Access) -> [String; 16] {
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
        dash(&ids.join(","))
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

/// `open`, `ok`, `closed, exit 1`, `failed`; a row that was written afterwards says so.
fn result(access: &Access) -> String {
    let mut result = text(&access.result);
    if let Some(code) = access.exit_code.filter(|&code| code != 0) {
        let _ = write!(result, ", exit {code}");
    }
    if access.replayed {
        result += ", recorded later";
    }
    result
}

fn optional(value: Option<&str>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| dash(&text(value)))
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// An empty cell would shift the others for a reader who counts words.
fn dash(value: &str) -> String {
    if value.is_empty() { "-" } else { value }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Form;
    use crate::fixture::{accesses, assert_golden, rendered};
    use crate::render::json::Accesses;
    use crate::render::records;

    #[test]
    fn a_list_says_who_asked_for_what_from_where_and_how_it_ended() {
        let list = rendered(|out| write(out, &accesses(), false, Layout::default()));
        assert_golden("audit.txt", &list);
        let list = rendered(|out| write(out, &accesses(), true, Layout::default()));
        assert_golden("audit-detail.txt", &list);
    }

    #[test]
    fn csv_has_one_line_for_each_access_and_no_formula() {
        let csv = rendered(|out| records::write(out, Form::Csv, &Accesses, &accesses()));
        assert_golden("audit.csv", &csv);
        assert_eq!(csv.matches("\r\n").count(), 4);
        assert!(!csv.contains(",=") && !csv.contains(",\"=") && !csv.contains(",@"));
    }
}
