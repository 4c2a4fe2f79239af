//! Checks that `docs/export.md` lists exactly the fields that are exported.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use serde_json::Value;
use uuid::Uuid;
use vctl_common::id::{BootId, SessionId};
use vctl_common::session::GapCause;

use super::session::{SessionRecords, host_gap, unreadable_record};
use super::{Record, access};
use crate::export::gap::GapRow;
use crate::fixture::{Login, accesses, session_id};
use crate::session::centre::{Unreadable, UnreadableReason};
use crate::session::model::identity::Contradiction;

const PAGE: &str = include_str!("../../../../docs/export.md");
const SOURCES: [&str; 4] = [
    include_str!("mod.rs"),
    include_str!("process.rs"),
    include_str!("session.rs"),
    include_str!("access.rs"),
];

/// Returns the fields in the first column of the table.
fn documented() -> BTreeSet<String> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split(", "));
    let names = names.map(|name| name.trim_matches('`').to_owned());
    names
        .filter(|name| name.contains('.') || name.starts_with('@'))
        .collect()
}

/// Adds the paths of all values below `value`.
fn collect(path: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(&path, value, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                collect(path, item, into);
            }
        }
        _ => drop(into.insert(path.to_owned())),
    }
}

fn gap() -> GapRow {
    GapRow {
        id: 1,
        host: "web-1".to_owned(),
        host_id: 7,
        is_of_host: true,
        boot: Uuid::nil(),
        session: None,
        cause: "ring_full".to_owned(),
        events: Some(3),
        from: Some(UNIX_EPOCH),
        to: Some(UNIX_EPOCH),
        sha256: "00".to_owned(),
        by: None,
        stored_by: None,
    }
}

fn unreadable(id: SessionId) -> Unreadable {
    Unreadable {
        host: "web-1".to_owned(),
        boot_id: BootId::from_uuid(uuid::Uuid::nil()),
        opened_at: Some(UNIX_EPOCH),
        reason: UnreadableReason::Contradiction { id },
    }
}

fn records() -> Vec<Record> {
    let history = Login::of_alice()
        .exec(4101, 4100, &["/bin/sh", "-c", "x"])
        .exec_failed(4102, 4101, 2, &["nope"])
        .killed(4102, 4101, 9)
        .moved(4101, 7, None)
        .exit(4101, 4100, 0)
        .lost(3, 5, GapCause::RingFull)
        .closed();
    let of = SessionRecords::new(&history.session);
    let gap = gap();
    let id = session_id("0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90");
    let unreadable = unreadable(id);
    let mut records = vec![
        of.opened(),
        of.contradicted(Contradiction::Validity),
        of.gap(&gap),
        of.closed("closed"),
        host_gap(&gap),
        unreadable_record(id.as_uuid(), &unreadable),
    ];
    records.extend(
        (1..)
            .zip(history.events.iter())
            .map(|(seq, event)| of.event(seq, event)),
    );
    for access in &accesses() {
        records.extend([false, true].map(|is_end| access::record(42, access, is_end)));
    }
    records
}

#[test]
fn every_exported_field_is_documented() {
    let mut exported = BTreeSet::new();
    for record in records() {
        collect("", &record.document, &mut exported);
    }
    let documented = documented();
    let missing: Vec<_> = exported.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/export.md: {missing:?}");
    assert!(exported.len() > 60, "{exported:?}");
    // The fixtures have not every field, so the code is searched for the others.
    for name in documented.difference(&exported) {
        let last = format!("\"{}\"", name.rsplit('.').next().unwrap_or(name));
        assert!(
            SOURCES.iter().any(|source| source.contains(&last)),
            "{name} is never exported"
        );
    }
}

#[test]
fn an_unreadable_session_has_its_own_time_and_host() {
    let id = session_id("0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90");
    let record = unreadable_record(id.as_uuid(), &unreadable(id));
    assert_eq!(record.time, UNIX_EPOCH);
    assert_eq!(record.document["host"]["name"], "web-1");
}

#[test]
fn each_record_has_an_id_of_its_own() {
    let records = records();
    let ids: BTreeSet<&String> = records.iter().map(|record| &record.id).collect();
    // One gap is in the list twice; the fixtures of accesses share a number.
    assert_eq!(ids.len(), records.len() - 1 - 4);
    for record in &records {
        assert_eq!(record.document["event"]["id"], *record.id);
        assert_eq!(record.document["event"]["action"], record.action);
    }
}

#[test]
fn a_rename_changes_no_id_of_a_gap() {
    let renamed = GapRow {
        host: "web-2".to_owned(),
        ..gap()
    };
    assert_eq!(host_gap(&gap()).id, host_gap(&renamed).id);
    let other = GapRow {
        host_id: 8,
        ..gap()
    };
    assert_ne!(host_gap(&gap()).id, host_gap(&other).id);
}
