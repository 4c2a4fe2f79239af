//! `--host`, `--user`, `--since` and `--until` select what is exported.

use vctl_common::id::SessionId;
use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::time::BootNs;
use vctl_tests::lab::{PATIENCE, eventually};

use super::{Exporting, HOST, all_ids, events_of, ids_of};

/// Stores a gap of no session, with this number of events.
fn gap(exporting: &mut Exporting, events: u64) {
    let at = BootNs(exporting.source.tick());
    let gap = Gap::new(GapCause::RingFull, None, at, at).with_events(events);
    exporting.source.note(&JournalEntry::Gap(gap)).unwrap();
    let sql = format!("select count(*) from vctl.audit_gap where events = {events}");
    let stored = eventually(PATIENCE, || Ok(exporting.centre.ask(&sql)? == "1"));
    assert!(stored.unwrap(), "{events}");
}

#[test]
fn a_renamed_host_is_exported_by_its_former_name() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    exporting.session(2, true);
    gap(&mut exporting, 73_001);
    let truth = exporting.source.sessions.clone();
    exporting.wait_for_end(*truth.keys().next().unwrap());
    // The row that a rename leaves. The other specs of this folder need the present name.
    let former = "exp-before-its-rename";
    let sql = format!(
        "insert into vctl.host_former_name (hostname, host_id, renamed_by)
         select '{former}', id, 'oidc-spec' from vctl.audit_host where hostname = '{HOST}'"
    );
    exporting.centre.ask(&sql).unwrap();
    let checkpoint = exporting.file("position");
    let export = || {
        let mut command = exporting.command(&["session", "export", "--host", former]);
        command.arg("--checkpoint").arg(&checkpoint);
        events_of(command)
    };
    let has_gap = |events: &[serde_json::Value], number: u64| {
        events
            .iter()
            .any(|event| event["vctl"]["gap"]["events"] == number)
    };
    let stored_before = export();
    let mut ids = ids_of(&stored_before, &truth);
    ids.sort();
    assert_eq!(ids, all_ids(&truth));
    assert!(has_gap(&stored_before, 73_001));
    gap(&mut exporting, 73_002);
    let mut command = exporting.command(&["session", "export", "--host", former]);
    command.arg("--checkpoint").arg(&checkpoint);
    assert!(has_gap(&events_of(command), 73_002));
}

#[test]
fn user_and_times_of_the_first_start_stay_in_force() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    exporting.session(1, true);
    let [second, third] = [77, 77].map(|serial| {
        let id = exporting.source.log_in(serial).unwrap();
        exporting.source.work(id, 1).unwrap();
        exporting.source.log_out(id).unwrap();
        id
    });
    exporting.wait_for_end(third);
    let all = exporting.source.sessions.clone();
    let only = |ids: &[SessionId]| all_ids(&ids.iter().map(|id| (*id, 1)).collect());
    let exported = |args: &[&str]| {
        let command = exporting.command(&[&["session", "export", "--host", HOST], args].concat());
        let mut ids = ids_of(&events_of(command), &all);
        ids.sort();
        ids
    };
    assert_eq!(exported(&["--user", "person-77"]), only(&[second, third]));
    let opened_at = |id: SessionId| {
        let sql = format!(
            "select to_char(opened_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
             from vctl.audit_session where id = '{id}'"
        );
        exporting.centre.ask(&sql).unwrap()
    };
    let (since, until) = (opened_at(second), opened_at(third));
    let checkpoint = exporting.file("position").display().to_string();
    let period = ["--since", &since, "--until", &until];
    let first_start = [&period[..], &["--checkpoint", &checkpoint]].concat();
    assert_eq!(exported(&first_start), only(&[second]));
    let fourth = exporting.session(1, true);
    exporting.wait_for_end(fourth);
    // Without the stored times, this start selects the new session.
    let given = ["--since", "2020-01-01"];
    let mut command = exporting.export(checkpoint.as_ref(), &given);
    command.env("TZ", "UTC");
    let late = events_of(command);
    assert_eq!(ids_of(&late, &exporting.source.sessions), [""; 0]);
}
