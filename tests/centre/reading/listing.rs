//! Lists are sorted from new to old, and filter by host, user and time. An unproven name has a mark.

use serde_json::json;
use vctl_tests::centre::Centre;

use super::{Reading, certificate, unique};
use crate::fixture::programs::{stderr, vctl};

/// Stores sessions of three users, the newest last. Returns their ids.
fn three_people(reading: &mut Reading, ca: &str, serial: u64, word: &[u8]) -> Vec<String> {
    let people = ["userpass-anna_b", "oidc-annaxb", "oidc-carl"];
    let mut ids = Vec::new();
    for (serial, person) in (serial..).zip(people) {
        let opened = reading.log_in(Some(certificate(person, serial, ca)));
        let line = format!("printf '{person} was here'");
        reading.exec(opened.id, &[b"sh", b"-c", line.as_bytes()]);
        reading.exec(opened.id, &[b"rm", b"-rf", word, person.as_bytes()]);
        reading.log_out(opened.id, 2);
        reading.wait_for(opened.id, 2);
        ids.push(opened.id.to_string());
    }
    ids
}

fn ids(shown: &str, of: &[String]) -> Vec<usize> {
    let at = |line: &str| of.iter().position(|id| line.contains(&**id));
    shown.lines().filter_map(at).collect()
}

#[test]
fn sessions_are_found_by_person_time_and_host_newest_first() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('l');
    reading.our_ca(&ca);
    reading.ship();
    let of = three_people(&mut reading, &ca, 601, b"listed");
    let listed = |args: &[&str]| {
        let all = [&["session", "-n", "0"], args].concat();
        ids(&reading.shows(&all), &of)
    };
    assert_eq!(listed(&[]), [2, 1, 0]);
    assert_eq!(listed(&["--user", "anna_b"]), [0]);
    assert_eq!(listed(&["--user", "userpass-anna_b"]), [0]);
    assert_eq!(listed(&["--user", "oidc-anna_b"]), [0; 0]);
    assert_eq!(listed(&["--host", "SYNTH"]), [2, 1, 0]);
    assert_eq!(listed(&["--host", "s_nth"]), [0; 0]);
    assert_eq!(listed(&["--since", "1h"]), [2, 1, 0]);
    assert_eq!(listed(&["--until", "2000-01-01"]), [0; 0]);
    let second = reading.json(&["session", &of[1], "--json"]);
    let second = second["sessions"][0]["opened_at"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(listed(&["--until", &second]), [0]);
    for form in ["wide", "jsonl", "yaml", "csv", "name"] {
        assert_eq!(listed(&["-o", form]), [2, 1, 0], "{form}");
    }
    let names = reading.shows(&["session", "-n", "0", "-o", "name"]);
    assert!(names.lines().any(|line| line == of[1]), "{names}");
    let line = reading.shows(&["session", "--user", "oidc-annaxb", "-n", "1", "-o", "jsonl"]);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["serial"], &line["commands"]),
        (&"602".into(), &2.into())
    );
    // The events of a session are available in the nested formats.
    let events = reading.shows(&["session", &of[1], "-o", "jsonl"]);
    let events: serde_json::Value = serde_json::from_str(&events).unwrap();
    assert_eq!(events["events"].as_array().unwrap().len(), 2);
    assert!(
        reading
            .shows(&["session", &of[1], "-o", "yaml"])
            .contains("argv")
    );
    for refused in [
        &["session", &of[1], "-o", "csv"][..],
        &["session", "--follow", "-o", "yaml"],
        &["session", &of[1], "--tree", "-o", "json"],
    ] {
        assert_eq!(reading.run(refused).status.code(), Some(2), "{refused:?}");
    }
}

#[test]
fn a_search_finds_arguments_in_the_newest_sessions_first() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('g');
    reading.our_ca(&ca);
    reading.ship();
    let of = three_people(&mut reading, &ca, 651, b"searched");
    let found = |args: &[&str]| ids(&reading.shows(&[&["session"], args].concat()), &of);
    assert_eq!(found(&["--grep", "rm -rf searched", "-n", "3"]), [2, 1, 0]);
    assert_eq!(found(&["--grep", "rm -rf searched", "-n", "1"]), [2]);
    assert_eq!(
        found(&["--grep", "rm -rf searched", "--user", "annaxb"]),
        [1]
    );
    assert_eq!(found(&["--grep", "rm -rf SEARCHED"]), [0; 0]);
    assert_eq!(found(&["--grep", "anna_b was", "--until", "1h"]), [0; 0]);
    let shown = reading.shows(&["session", &of[0], "--grep", "rm -rf"]);
    assert!(shown.contains("rm -rf searched userpass-anna_b"), "{shown}");
    assert!(!shown.contains("was here"), "{shown}");
}

#[test]
fn a_key_id_of_a_ca_that_is_not_ours_is_marked() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let opened = reading.log_in(Some(certificate("oidc-impostor", 701, &unique('x'))));
    reading.log_out(opened.id, 0);
    reading.wait_for(opened.id, 0);
    let id = opened.id.to_string();
    let list = reading.shows(&["session", "--user", "impostor"]);
    assert!(
        list.contains("  ?oidc-impostor  ") && list.contains("unknown CA"),
        "{list}"
    );
    let shown = reading.shows(&["session", &id]);
    assert!(shown.contains("who       ?oidc-impostor\n"), "{shown}");
    assert!(shown.contains("by a CA that is not one of ours"), "{shown}");
}

#[test]
fn a_missing_session_is_an_error_with_the_next_command() {
    let Some(reading) = Reading::new() else {
        return;
    };
    let missing = reading.run(&["session", "0193f3a1-7c4e-7d61-9f0a-00000000dead"]);
    assert_eq!(missing.status.code(), Some(66));
    let nothing = reading
        .command(&["session"])
        .env_remove("VCTL_DB_HOST")
        .output()
        .unwrap();
    let said = String::from_utf8(nothing.stderr).unwrap();
    assert!(
        said.contains("VCTL_DB_HOST") && said.contains("--local"),
        "{said}"
    );
}

#[test]
fn invalid_rows_of_one_host_hide_no_other_session() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let opened = reading.log_in(None);
    reading.log_out(opened.id, 0);
    reading.wait_for(opened.id, 0);
    let liar = reading.log_in(None);
    reading.log_out(liar.id, 0);
    reading.wait_for(liar.id, 0);
    for entry in ["{}", "[1]", "\"\"", r#"{"entry":"opened","id":7}"#] {
        let sql = format!(
            "update vctl.audit_session set opened = '{entry}' where id = '{}'",
            liar.id
        );
        reading.centre.ask(&sql).unwrap();
        let output = reading.run(&["session", "-n", "0"]);
        let list = String::from_utf8(output.stdout).unwrap();
        assert!(list.contains(&opened.id.to_string()), "{list}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&liar.id.to_string()), "{said}");
        assert_eq!(
            reading
                .run(&["session", &liar.id.to_string()])
                .status
                .code(),
            Some(1)
        );
    }
    let sql = format!("delete from vctl.audit_session where id = '{}'", liar.id);
    reading.centre.ask(&sql).unwrap();
}

#[test]
fn pruned_events_do_not_make_a_session_incomplete() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let opened = reading.log_in(None);
    reading.exec(opened.id, &[b"long", b"ago"]);
    reading.exec(opened.id, &[b"long", b"gone"]);
    reading.log_out(opened.id, 2);
    reading.wait_for(opened.id, 2);
    let id = opened.id.to_string();
    let prune = format!("delete from vctl.kernel_event where session_id = '{id}' and seq = 1");
    reading.centre.ask(&prune).unwrap();
    let output = reading.run(&["session", &id]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        !shown.contains("long ago") && shown.contains("long gone"),
        "{shown}"
    );
    let verdict = "complete: all 2 events; 1 of these was deleted after its retention period";
    assert!(shown.contains(verdict), "{shown}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("1 of the 2 events"), "{said}");
}

#[test]
fn a_search_states_the_sessions_without_their_events() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('r');
    reading.our_ca(&ca);
    reading.ship();
    let opened = reading.log_in(Some(certificate("userpass-pruned", 681, &ca)));
    reading.exec(opened.id, &[b"cat", b"/etc/shadow"]);
    reading.log_out(opened.id, 1);
    reading.wait_for(opened.id, 1);
    let id = opened.id.to_string();
    let grep = |more: &[&str]| {
        let args = ["session", "--user", "pruned", "--grep", "/etc/shadow"];
        reading.run(&[&args[..], more].concat())
    };
    let (text, json) = (grep(&[]), grep(&["--json"]));
    let said = String::from_utf8(text.stderr).unwrap();
    assert!(!said.contains("deleted"), "{said}");
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["pruned"]["sessions"], 0, "{document}");
    // The day of the events is now beyond their period, and its partition is dropped.
    let age = "select vctl.ensure_event_day((now() at time zone 'UTC')::date - 40);
         update vctl.kernel_event set day = (now() at time zone 'UTC')::date - 40 where session_id = '{id}';
         update vctl.audit_session set first_day = (now() at time zone 'UTC')::date - 40,
             last_day = (now() at time zone 'UTC')::date - 40 where id = '{id}'";
    reading.centre.ask(&age.replace("{id}", &id)).unwrap();
    assert!(String::from_utf8(grep(&[]).stdout).unwrap().contains(&id));
    let name =
        "select name from vctl.event_days() where day = (now() at time zone 'UTC')::date - 40";
    let name = reading.centre.ask(name).unwrap();
    let drop = format!("drop table vctl.{name}");
    reading.centre.ask(&drop).unwrap();

    let note = "events of 1 session were not searched, because they were deleted after their retention period; \
                events are stored since 2";
    for condition in [&[][..], &["--path", "*"], &["--failed"]] {
        let output = grep(condition);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(said.contains(note), "{condition:?}: {said}");
        assert!(said.contains("no matching program is stored"), "{said}");
    }
    let output = grep(&["--json"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains(note));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["sessions"], serde_json::json!([]), "{document}");
    let pruned = &document["pruned"];
    assert_eq!(
        (&pruned["sessions"], &pruned["more"]),
        (&1.into(), &false.into())
    );
    assert_eq!(pruned["events_since"].as_str().unwrap().len(), 10);

    let shown = reading.shows(&["session", &id]);
    let verdict = "complete: all 1 event; 1 of these was deleted after its retention period";
    assert!(shown.contains(verdict), "{shown}");
    let session = &reading.json(&["session", &id, "--json"])["sessions"][0];
    assert_eq!(session["events_deleted"], 1, "{session}");
    assert_eq!(session["complete"], true, "{session}");
    let page = reading.dir.path().join("page.html");
    reading.shows(&["session", &id, "--html", page.to_str().unwrap()]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(verdict), "{page}");
}

#[test]
fn events_before_their_session_row_are_listed() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let opened = reading.log_in(None);
    reading.log_out(opened.id, 0);
    reading.wait_for(opened.id, 0);
    let id = opened.id.to_string();
    let forget = format!("update vctl.audit_session set opened = null where id = '{id}'");
    reading.centre.ask(&forget).unwrap();
    let output = reading.run(&["session", &id]);
    assert_eq!(output.status.code(), Some(66));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("but its opening is not"), "{said}");
    assert!(!reading.shows(&["session", "-n", "0"]).contains(&id));
}

#[test]
fn a_search_does_not_depend_on_the_count_of_pruned_sessions() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "search_slow_count";
    centre.create_database_with_schema(db).unwrap();
    let slow = "create or replace function vctl.event_days(out day date, out name text, out bytes bigint, \
                    out events_estimate bigint) returns setof record language sql stable \
                as $$ select null::date, null, null::bigint, null::bigint from pg_sleep(600) $$";
    centre.postgres.psql(db, slow).unwrap();
    let auditor = centre.with_policies(&["vctl-auditor"]).unwrap();
    let args = ["session", "--grep", "/etc/shadow", "--json"];
    let output = vctl(centre, &auditor, db, &args).output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("the count of sessions without their events"),
        "{said}"
    );
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let unknown = json!({"sessions": 0, "more": true, "events_since": null});
    assert_eq!(document["pruned"], unknown, "{document}");
}
