//! Rows that arrive late are exported: events of the past, and transactions that commit after later ones.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Instant;

use serde_json::Value;
use vctl_common::id::SessionId;
use vctl_common::session::{
    CloseReason, Gap, GapCause, JournalEntry, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::time::BootNs;
use vctl_tests::lab::{PATIENCE, eventually};

use super::{Exporter, Exporting, HOST, events_of, id_of, ids_of};
use crate::fixture::open_transaction::OpenTransaction;

#[test]
fn a_transaction_that_commits_late_is_not_skipped() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let model = exporting.session(0, true);
    exporting.wait_for_end(model);
    let checkpoint = exporting.file("position");
    events_of(exporting.export(&checkpoint, &[]));
    // The same rows as the shipped session has, with another id.
    let late = "0193f3a1-0000-7000-8000-00000000abcd";
    let at = BootNs(exporting.source.tick());
    let gap = Gap::new(GapCause::RingFull, Some(late.parse().unwrap()), at, at);
    let gap = serde_json::to_string(&JournalEntry::Gap(gap.with_events(72_001))).unwrap();
    let held = OpenTransaction::begin(
        exporting.centre,
        &format!(
            "create temp table copied as select * from vctl.audit_session where id = '{model}';
             update copied set id = '{late}', opened = replace(opened::text, '{model}', '{late}')::json,
                 closed = replace(closed::text, '{model}', '{late}')::json, arrived = null, arrived_at = null;
             insert into vctl.audit_session select * from copied;
             insert into vctl.audit_gap (host_id, boot_id, session_id, cause, events, from_at, to_at, gap, sha256)
             select host_id, boot_id, id, 'ring_full', 72001, opened_at, opened_at, '{gap}', sha256(id::text::bytea)
             from copied"
        ),
    );
    let first = exporting.session(3, true);
    exporting.wait_for_end(first);
    let before = events_of(exporting.export(&checkpoint, &[]));
    let of = |id: &str| {
        before
            .iter()
            .filter(|event| event["vctl"]["session"]["id"] == id)
            .count()
    };
    assert_eq!((of(&first.to_string()), of(late)), (5, 0));
    held.commit();
    let after = events_of(exporting.export(&checkpoint, &[]));
    let ours = after
        .iter()
        .filter(|event| event["vctl"]["session"]["id"] == late);
    let mut actions: Vec<_> = ours
        .map(|event| event["event"]["action"].as_str().unwrap())
        .collect();
    actions.sort_unstable();
    let expected = ["events-missing", "session-closed", "session-opened"];
    assert_eq!(actions, expected);
    let repeated = after
        .iter()
        .filter(|event| event["vctl"]["session"]["id"] == first.to_string());
    assert_eq!(repeated.count(), 0);
    // Its removal lets other specs list this host.
    let sql = format!("delete from vctl.audit_session where id = '{late}'");
    exporting.centre.ask(&sql).unwrap();
}

#[test]
fn a_host_that_ships_hours_later_is_exported() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    // The clock of `Source` is behind, so these events are older than the first export.
    let old = exporting.session(20, true);
    let checkpoint = exporting.file("position");
    events_of(exporting.export(&checkpoint, &[]));
    let exporter = Exporter::begin(exporting.export(&checkpoint, &["--follow"]));
    let truth = exporting.source.sessions.clone();
    exporting.ship();
    exporting.wait_for_end(old);
    let stored = Instant::now();
    exporter.until("the late session is exported", |e| {
        ids_of(&e.lines(), &truth).contains(&format!("{old}-closed"))
    });
    // Polls are a second apart; this machine may be busy.
    assert!(stored.elapsed().as_secs() < 10, "{:?}", stored.elapsed());
    let lines = exporter.kill();
    let mut ids: Vec<_> = lines
        .iter()
        .map(id_of)
        .filter(|id| id.starts_with(&old.to_string()))
        .collect();
    ids.sort();
    assert_eq!(ids, super::all_ids(&truth));
}

/// A map of the kernel was full when the login asked for its stamp. Later it was recorded, and then it got late events.
#[test]
fn what_a_host_records_after_an_end_is_exported_once() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let id = SessionId::generate();
    let began = exporting.source.tick();
    let opened = |stamp, marked_at| {
        JournalEntry::Opened(Box::new(SessionOpened {
            stamp,
            marked_at: Some(BootNs(marked_at)),
            ..SessionOpened::unknown(id, BootNs(began))
        }))
    };
    let source = &mut exporting.source;
    source.sessions.insert(id, 0);
    source.note(&opened(Stamp::InTime, began)).unwrap();
    let at = BootNs(source.tick());
    let gap = Gap::new(GapCause::RingFull, Some(id), at, at);
    source.note(&JournalEntry::Gap(gap)).unwrap();
    let never = SessionClosed {
        id,
        at: BootNs(source.tick()),
        reason: CloseReason::NeverRecorded,
        produced: None,
        stored: 0,
        leader_ended_at: None,
        requested: None,
    };
    source.note(&JournalEntry::Closed(never)).unwrap();
    let checkpoint = exporting.file("position");
    let mut follower = None;
    let mut all = Vec::new();
    // Waits until the store has this, exports what is new, and compares.
    let mut expect = |exporting: &Exporting, stored: &str, names: &[&str]| {
        let sql =
            format!("select closed is null, stored from vctl.audit_session where id = '{id}'");
        let came = eventually(PATIENCE, || Ok(exporting.centre.ask(&sql)? == stored));
        assert!(came.unwrap(), "{}", exporting.centre.ask(&sql).unwrap());
        let new = events_of(exporting.export(&checkpoint, &[]));
        let mut new = ids_of(&new, &exporting.source.sessions);
        new.sort();
        let is_gap = |new: &String| new.starts_with("gap-");
        let mut expected: Vec<_> = names.iter().map(|name| format!("{id}-{name}")).collect();
        expected.extend(new.iter().filter(|new| is_gap(new)).cloned());
        expected.sort();
        assert_eq!(new, expected);
        all.extend(new);
        let file = exporting.file("followed");
        let exporter =
            follower.get_or_insert_with(|| Exporter::begin(exporting.export(&file, &["--follow"])));
        let sessions = &exporting.source.sessions;
        exporter.until("the follower has the same", |e| {
            ids_of(&e.lines(), sessions).len() >= all.len()
        });
        let mut followed = ids_of(&exporter.lines(), sessions);
        followed.sort();
        all.sort();
        assert_eq!(followed, all);
        all.iter().filter(|id| is_gap(id)).count()
    };
    assert_eq!(expect(&exporting, "f|0", &["opened", "never-recorded"]), 1);
    let marked_at = exporting.source.tick();
    exporting
        .source
        .note(&opened(Stamp::Late, marked_at))
        .unwrap();
    exporting.source.work(id, 3).unwrap();
    expect(&exporting, "t|3", &["1", "2", "3"]);
    exporting.source.log_out(id).unwrap();
    expect(&exporting, "f|3", &["closed"]);
    exporting.source.work(id, 2).unwrap();
    assert_eq!(expect(&exporting, "f|5", &["4", "5", "closed-5"]), 1);
    // An export that remembers nothing gives the end the same name.
    let whole = events_of(exporting.command(&["session", "export", "--host", HOST]));
    let whole = ids_of(&whole, &exporting.source.sessions);
    let has = |name: &str| whole.contains(&format!("{id}-{name}"));
    assert_eq!((has("closed-5"), has("closed")), (true, false));
}

/// The export waits for its reader before it takes the gaps of the backlog, and meanwhile the session arrives again.
#[test]
fn a_gap_of_a_session_that_arrives_again_is_not_lost() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let id = exporting.session(2, false);
    let at = BootNs(exporting.source.tick());
    let gap = Gap::new(GapCause::RingFull, Some(id), at, at);
    exporting.source.note(&JournalEntry::Gap(gap)).unwrap();
    exporting.source.log_out(id).unwrap();
    // More than a pipe holds.
    let next = exporting.session(4_000, true);
    exporting.wait_for_end(next);
    let checkpoint = exporting.file("position");
    let mut child = exporting
        .export(&checkpoint, &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    let mut all: Vec<Value> = Vec::new();
    let end = format!("{id}-closed");
    while all.last().is_none_or(|last| id_of(last) != end) {
        all.push(lines.next().unwrap());
    }
    exporting.source.work(id, 1).unwrap();
    exporting.wait_for(&exporting.source.sessions.clone());
    all.extend(lines);
    assert!(child.wait().unwrap().success());
    let mut ids = ids_of(&all, &BTreeMap::from([(id, 3)]));
    ids.sort();
    let gaps = ids.iter().filter(|id| id.starts_with("gap-")).cloned();
    let names = ["1", "2", "3", "closed", "closed-3", "opened"];
    let expected = names.iter().map(|name| format!("{id}-{name}"));
    let mut expected: Vec<_> = expected.chain(gaps).collect();
    expected.sort();
    assert_eq!(ids, expected);
    assert_eq!(ids.len(), names.len() + 1, "{ids:?}");
}
