//! Enrolled hosts as a table, one per line.

use std::io::{self, Write};
use std::time::SystemTime;

use crate::enrolled::model::EnrolledHost;
use crate::ui::columns::Columns;
use crate::ui::{Layout, sanitize, time};

const COLUMNS: Columns<7> = Columns {
    names: [
        "HOST",
        "APPROLE",
        "ENROLLED",
        "LAST RECORD",
        "LAST REPORT",
        "SECRET ID",
        "FORMER NAMES",
    ],
    elastic: &[0, 1, 6],
    spare: &[2, 5],
};

/// Writes one line per host. Ages are before `now`.
pub(crate) fn write(
    out: &mut dyn Write,
    hosts: &[EnrolledHost],
    now: SystemTime,
    layout: Layout,
) -> io::Result<()> {
    let rows: Vec<[String; 7]> = hosts.iter().map(|host| row(host, now)).collect();
    COLUMNS.write(out, &rows, layout)
}

fn row(host: &EnrolledHost, now: SystemTime) -> [String; 7] {
    let age = |at: Option<SystemTime>, missing: &str| {
        at.map_or_else(
            || missing.to_owned(),
            |at| time::age(now.duration_since(at).unwrap_or_default()),
        )
    };
    let names: Vec<String> = host
        .former_names
        .iter()
        .map(|former| sanitize::text(&former.name))
        .collect();
    let approles: Vec<String> = host.approles.iter().map(sanitize::text).collect();
    [
        sanitize::text(&host.name),
        listed(&approles, "none"),
        host.enrolled_at.map_or_else(|| "-".to_owned(), time::date),
        age(host.last_record_at, "never"),
        age(host.last_report_at, "never"),
        secret_id(host.secret_id_expires_at, now),
        listed(&names, "-"),
    ]
}

fn secret_id(expires_at: Option<SystemTime>, now: SystemTime) -> String {
    match expires_at.map(|at| at.duration_since(now)) {
        None => "-".to_owned(),
        Some(Ok(left)) if !left.is_zero() => time::duration(left),
        Some(_) => "expired".to_owned(),
    }
}

fn listed(words: &[String], none: &str) -> String {
    if words.is_empty() {
        return none.to_owned();
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::enrolled::model::FormerName;
    use crate::fixture::rendered;

    #[test]
    fn a_renamed_host_shows_both_credentials_and_names() {
        let now = UNIX_EPOCH + Duration::from_hours(24 * 365);
        let host = EnrolledHost {
            name: "www-1".to_owned(),
            approles: vec!["www-1.0000001f".to_owned(), "web-1.00000002".to_owned()],
            enrolled_at: Some(UNIX_EPOCH),
            last_record_at: Some(now - Duration::from_mins(3)),
            secret_id_expires_at: Some(now),
            former_names: vec![FormerName {
                name: "web\u{1b}[31m-1".to_owned(),
                until: None,
                renamed_by: "oidc-albert".to_owned(),
            }],
            ..EnrolledHost::default()
        };
        let page = rendered(|out| write(out, &[host], now, Layout::default()));
        for part in [
            "www-1.0000001f, web-1.00000002",
            "1970-01-01",
            "never",
            "expired",
        ] {
            assert!(page.contains(part), "{page}");
        }
        assert!(!page.contains('\u{1b}'), "{page}");
    }
}
