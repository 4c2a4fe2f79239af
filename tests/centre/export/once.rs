//! Each event is exported once, and a crash repeats at most one batch.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::thread;

use rustix::io::ioctl_fionread;
use serde_json::Value;
use vctl_tests::lab::{PATIENCE, eventually};

use super::{Exporter, Exporting, all_ids, events_of, id_of, ids_of};

/// A batch has at most 1,000 events more than one read of 64 rows, and the opening, end and gaps of its last session.
const MOST_OF_A_BATCH: usize = 1_100;

#[test]
fn a_killed_export_repeats_at_most_its_last_batch() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let checkpoint = exporting.file("position");
    for nth in 0..20 {
        exporting.session(40 + nth, true);
    }
    exporting.session(3_000, true);
    let mut exporter = Exporter::begin(exporting.export(&checkpoint, &["--follow"]));
    let mut all = Vec::new();
    for round in 0..3 {
        // The kill comes while the host works and while the export writes.
        let open = exporting.session(1_500, false);
        exporter.until("some lines are written", |e| e.count() > 700);
        exporting.source.work(open, 200).unwrap();
        exporting.source.log_out(open).unwrap();
        let lines = exporter.kill();
        repeats_only_the_last_batch(round, &all, &lines);
        all.extend(lines);
        exporter = Exporter::begin(exporting.export(&checkpoint, &["--follow"]));
    }
    let truth = exporting.source.sessions.clone();
    exporting.wait_for(&truth);
    let expected = all_ids(&truth);
    let known = BTreeSet::from_iter(ids_of(&all, &truth));
    let left = expected.iter().filter(|id| !known.contains(*id)).count();
    exporter.until("the rest is written", |e| {
        if e.count() < left {
            return false;
        }
        let new = ids_of(&e.lines(), &truth);
        new.iter().filter(|id| !known.contains(*id)).count() == left
    });
    let lines = exporter.kill();
    repeats_only_the_last_batch(3, &all, &lines);
    all.extend(lines);
    let unique = BTreeSet::from_iter(ids_of(&all, &truth));
    assert_eq!(Vec::from_iter(unique), expected);
    // A restart in peace repeats nothing.
    assert_eq!(
        ids_of(&events_of(exporting.export(&checkpoint, &[])), &truth),
        [""; 0]
    );
}

/// Checks which of `lines`, written after a kill, are already in `before`: those of the last batch, at the start.
fn repeats_only_the_last_batch(round: usize, before: &[Value], lines: &[Value]) {
    let known: BTreeSet<String> = before.iter().map(id_of).collect();
    let repeated: Vec<usize> = (0..lines.len())
        .filter(|nth| known.contains(&id_of(&lines[*nth])))
        .collect();
    assert!(repeated.len() <= MOST_OF_A_BATCH, "{round}: {repeated:?}");
    assert!(
        repeated.iter().all(|nth| *nth < MOST_OF_A_BATCH),
        "{round}: {repeated:?}"
    );
    // In the order in which they were first written: the same batch may be repeated after each kill.
    let mut seen = BTreeSet::new();
    let mut unique: Vec<String> = before.iter().map(id_of).collect();
    unique.retain(|id| seen.insert(id.clone()));
    let last = &unique[unique.len().saturating_sub(MOST_OF_A_BATCH)..];
    let last: BTreeSet<&String> = last.iter().collect();
    let is_of_last = |nth: &usize| last.contains(&id_of(&lines[*nth]));
    assert!(repeated.iter().all(is_of_last), "{round}: {repeated:?}");
}

#[test]
fn an_export_in_parts_has_each_event_once() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let checkpoint = exporting.file("position");
    let (mut all, mut open) = (Vec::new(), None);
    for round in 0..4 {
        exporting.session(3, true);
        let id = *open.get_or_insert_with(|| exporting.source.log_in(9).unwrap());
        exporting.source.work(id, 5 + round).unwrap();
        exporting.wait_for(&exporting.source.sessions.clone());
        all.extend(events_of(exporting.export(&checkpoint, &[])));
    }
    exporting.source.log_out(open.unwrap()).unwrap();
    let truth = exporting.source.sessions.clone();
    let sql = format!(
        "select closed is not null from vctl.audit_session where id = '{}'",
        open.unwrap()
    );
    let closed = eventually(PATIENCE, || Ok(exporting.centre.ask(&sql)? == "t"));
    assert!(closed.unwrap());
    all.extend(events_of(exporting.export(&checkpoint, &[])));
    let mut ids = ids_of(&all, &truth);
    ids.sort();
    assert_eq!(ids, all_ids(&truth));
    // Without a checkpoint, each export has everything.
    let whole = exporting.command(&["session", "export", "--host", super::HOST]);
    let mut ids = ids_of(&events_of(whole), &truth);
    ids.sort();
    assert_eq!(ids, all_ids(&truth));
}

#[test]
fn a_closed_output_is_not_counted_as_written() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    exporting.session(400, true);
    let truth = exporting.source.sessions.clone();
    exporting.wait_for(&truth);
    let checkpoint = exporting.file("position");
    let mut child = exporting
        .export(&checkpoint, &["--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The reader ends before it has read anything.
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut ids = ids_of(&events_of(exporting.export(&checkpoint, &[])), &truth);
    ids.sort();
    assert_eq!(ids, all_ids(&truth));
}

#[test]
fn a_slow_reader_holds_no_transaction_open() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    exporting.session(4_000, true);
    let truth = exporting.source.sessions.clone();
    exporting.wait_for(&truth);
    let mut child = exporting
        .export(&exporting.file("position"), &[])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    // A pipe holds 64 KiB; then the export waits for its reader.
    let is_full = eventually(PATIENCE, || Ok(ioctl_fionread(&stdout)? >= 60 << 10));
    assert!(is_full.unwrap());
    // Other specs read events too, but not without end.
    let held = "select count(*) from pg_stat_activity where state like 'idle in transaction%' \
                and query like '%head || coalesce%'";
    let free = eventually(PATIENCE, || Ok(exporting.centre.ask(held)? == "0"));
    assert!(free.unwrap(), "a transaction waits for the reader");
    let reader = thread::spawn({
        let mut stdout = stdout;
        move || std::io::copy(&mut stdout, &mut std::io::sink())
    });
    assert!(child.wait().unwrap().success());
    assert!(reader.join().unwrap().unwrap() > 1 << 20);
}
