//! Gaps are exported: a receiver must see that the record is incomplete.

use std::collections::BTreeMap;

use serde_json::Value;
use vctl_common::id::SessionId;
use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::time::BootNs;
use vctl_tests::lab::{PATIENCE, eventually};

use super::{Exporting, events_of, id_of};

#[test]
fn each_gap_is_exported_once_also_after_the_end() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let checkpoint = exporting.file("position");
    let id = exporting.session(2, false);
    // The numbers of events tell these gaps from those of other specs.
    let mut gap = |session, events: u64| {
        let (from, to) = (
            BootNs(exporting.source.tick()),
            BootNs(exporting.source.tick()),
        );
        let gap = Gap::new(GapCause::RingFull, session, from, to).with_events(events);
        exporting.source.note(&JournalEntry::Gap(gap)).unwrap();
    };
    gap(Some(id), 71_001);
    let found = |exporting: &Exporting, events: u64| {
        let sql = format!("select count(*) from vctl.audit_gap where events = {events}");
        let stored = eventually(PATIENCE, || Ok(exporting.centre.ask(&sql)? == "1"));
        assert!(stored.unwrap(), "{events}");
    };
    found(&exporting, 71_001);
    let first = events_of(exporting.export(&checkpoint, &[]));
    assert_eq!(gaps_of(&first).keys().collect::<Vec<_>>(), [&71_001]);
    exporting.source.log_out(id).unwrap();
    exporting.wait_for_end(id);
    let closed = events_of(exporting.export(&checkpoint, &[]));
    let mut ends = closed
        .iter()
        .filter(|event| id_of(event) == format!("{id}-closed"));
    // The numbers of its events decide whether a session is complete, and here none is absent.
    assert_eq!(ends.next().unwrap()["vctl"]["session"]["complete"], true);
    let mut gap = |session, events: u64| {
        let (from, to) = (
            BootNs(exporting.source.tick()),
            BootNs(exporting.source.tick()),
        );
        let gap = Gap::new(GapCause::SpoolCap, session, from, to).with_events(events);
        exporting.source.note(&JournalEntry::Gap(gap)).unwrap();
    };
    gap(Some(id), 71_002);
    gap(None, 71_003);
    found(&exporting, 71_003);
    let second = events_of(exporting.export(&checkpoint, &[]));
    let late = gaps_of(&second);
    assert_eq!(late.keys().collect::<Vec<_>>(), [&71_002, &71_003]);
    assert_eq!(late[&71_002]["vctl"]["session"]["id"], id.to_string());
    assert_eq!(late[&71_002]["vctl"]["gap"]["cause"], "spool_cap");
    assert_eq!(late[&71_002]["event"]["kind"], "pipeline_error");
    assert!(late[&71_003]["vctl"]["session"].is_null());
    assert_eq!(late[&71_003]["host"]["name"], super::HOST);
    assert!(gaps_of(&events_of(exporting.export(&checkpoint, &[]))).is_empty());
    // Without a checkpoint, each export has all of them, with the same ids.
    let whole = gaps_of(&events_of(exporting.command(&[
        "session",
        "export",
        "--host",
        super::HOST,
    ])));
    for (events, gap) in gaps_of(&first).iter().chain(&late) {
        assert_eq!(id_of(&whole[events]), id_of(gap), "{events}");
    }
}

#[test]
fn an_unreadable_session_follows_once_it_can_be_read() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let id = exporting.session(3, true);
    exporting.wait_for_end(id);
    let other = SessionId::generate();
    let replace = |from: SessionId, to: SessionId| {
        let sql = format!(
            "update vctl.audit_session set opened = replace(opened::text, '{from}', '{to}')::json
             where id = '{id}'"
        );
        exporting.centre.ask(&sql).unwrap();
    };
    let checkpoint = exporting.file("position");
    let actions = || {
        let events = events_of(exporting.export(&checkpoint, &[]));
        let ours = events
            .iter()
            .filter(|event| event["vctl"]["session"]["id"] == id.to_string());
        let action = |event: &Value| {
            let action = event["event"]["action"].as_str().unwrap().to_owned();
            if action == "session-unreadable" {
                assert_eq!(event["host"]["name"], super::HOST);
                let at = event["@timestamp"].as_str().unwrap();
                let sql =
                    format!("select opened_at = '{at}' from vctl.audit_session where id = '{id}'");
                assert_eq!(exporting.centre.ask(&sql).unwrap(), "t");
            }
            action
        };
        ours.map(action).collect::<Vec<_>>()
    };
    replace(id, other);
    assert_eq!(actions(), ["session-unreadable"]);
    assert_eq!(actions(), [""; 0]);
    replace(other, id);
    let whole = ["session-opened", "exec", "exit", "exec", "session-closed"];
    assert_eq!(actions(), whole);
    assert_eq!(actions(), [""; 0]);
}

/// Returns the gaps of this spec, by their numbers of events; each may occur once.
fn gaps_of(events: &[Value]) -> BTreeMap<u64, Value> {
    let mut gaps = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| event["event"]["action"] == "events-missing")
    {
        let Some(events @ 71_000..72_000) = event["vctl"]["gap"]["events"].as_u64() else {
            continue;
        };
        assert!(
            gaps.insert(events, event.clone()).is_none(),
            "{events} twice"
        );
    }
    gaps
}
