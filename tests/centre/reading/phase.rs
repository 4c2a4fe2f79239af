//! In every reader, programs that sshd and PAM ran at login and logout are not among the user's commands.

use std::fs;

use serde_json::Value;
use vctl_common::id::SessionId;
use vctl_common::wire::{self, Exec};
use vctl_tests::ship::exec;

use super::Reading;

/// Stores a session with a program of the login, one command of the user, and a program of the logout.
fn a_session_with_hooks(reading: &mut Reading) -> SessionId {
    let id = reading.log_in(None).id;
    exec_in(reading, id, wire::PHASE_LOGIN_SETUP, "run-parts-of-motd");
    exec_in(reading, id, wire::PHASE_USER, "work-of-user");
    exec_in(reading, id, wire::PHASE_LOGOUT, "logger-at-end");
    reading.log_out(id, 3);
    reading.wait_for(id, 3);
    id
}

fn exec_in(reading: &mut Reading, id: SessionId, phase: u32, program: &str) {
    let seq = reading.source.sessions[&id] + 1;
    let at = reading.source.tick();
    let argv = format!("{program}\0--now\0");
    let strings: [&[u8]; 4] = [b"/usr/bin/env", b"/srv", b"env", argv.as_bytes()];
    let mut record = exec(id, seq, at, strings);
    let flags = std::mem::offset_of!(Exec, flags);
    let bits = (phase << wire::EXEC_PHASE_SHIFT).to_le_bytes();
    for (byte, bit) in record[flags..].iter_mut().zip(bits) {
        *byte |= bit;
    }
    reading.source.event(id, &record).unwrap();
}

const OF_USER: &str = "work-of-user";
const OF_LOGIN: [&str; 2] = ["run-parts-of-motd", "logger-at-end"];

/// Asks the centre and the spool the same question, and expects the same answer.
fn both(reading: &Reading, args: &[&str]) -> String {
    let central = reading.shows(&[&["session"], args].concat());
    assert_eq!(central, reading.shows_locally(args), "{args:?}");
    central
}

#[test]
fn work_of_sshd_and_pam_is_shown_on_request_only() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let id = a_session_with_hooks(&mut reading).to_string();
    let page = reading.source.dir.join("page.html");
    let page = page.to_str().unwrap();
    let forms: [&[&str]; 6] = [
        &[],
        &["--full"],
        &["--tree"],
        &["--tree", "--full"],
        &["--follow"],
        &["--force", "--html", page],
    ];
    for form in forms {
        let shown = |more: &[&str]| {
            let args = [&[&*id], form, more].concat();
            if form != ["--force", "--html", page] {
                return both(&reading, &args);
            }
            let made = |shown: String, of: &str| {
                assert_eq!(shown, "", "{of}");
                fs::read_to_string(page).unwrap()
            };
            let central = made(reading.shows(&[&["session"], &*args].concat()), "centre");
            let local = made(reading.shows_locally(&args), "spool");
            for program in [OF_USER, OF_LOGIN[0], OF_LOGIN[1]] {
                assert_eq!(central.contains(program), local.contains(program));
            }
            central
        };
        let usual = shown(&[]);
        assert!(usual.contains(OF_USER), "{form:?}: {usual}");
        for program in OF_LOGIN {
            assert!(!usual.contains(program), "{form:?}: {usual}");
        }
        // A live view prints its lines before it could know the number of hidden programs.
        let says_so = usual.contains("not shown: 2 programs that sshd and PAM ran");
        assert_eq!(says_so, form != ["--follow"], "{form:?}: {usual}");
        let all = shown(&["--login-work"]);
        for part in [OF_USER, OF_LOGIN[0], OF_LOGIN[1], "login setup", "logout"] {
            assert!(all.contains(part), "{form:?} lacks `{part}`: {all}");
        }
        assert!(!all.contains("not shown"), "{form:?}: {all}");
    }
}

#[test]
fn login_work_is_not_counted_as_commands() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let session = a_session_with_hooks(&mut reading);
    let id = session.to_string();
    let of_list = |document: &Value| {
        let sessions = document["sessions"].as_array().unwrap();
        let session = sessions.iter().find(|session| session["session_id"] == *id);
        session.unwrap()["commands"].clone()
    };
    let list = ["-n", "0", "-o", "json"];
    let central = reading.json(&[&["session"], list.as_slice()].concat());
    let local: Value = serde_json::from_str(&reading.shows_locally(&list)).unwrap();
    assert_eq!((of_list(&central), of_list(&local)), (1.into(), 1.into()));

    let document = reading.json(&["session", &id, "-o", "json"]);
    let session = &document["sessions"][0];
    let told = |events: &Value| -> Vec<(String, String)> {
        let events = events.as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        events
            .map(|event| (text(&event["phase"]), text(&event["argv"][0])))
            .collect()
    };
    let pair = |phase: &str, program: &str| (phase.to_owned(), program.to_owned());
    assert_eq!(told(&session["events"]), [pair("user", OF_USER)]);
    let of_login = [
        pair("login_setup", OF_LOGIN[0]),
        pair("logout", OF_LOGIN[1]),
    ];
    assert_eq!(told(&session["login_events"]), of_login);

    let follow = ["--follow", &id, "-o", "jsonl"];
    let central = reading.shows(&[&["session"], follow.as_slice()].concat());
    for lines in [central, reading.shows_locally(&follow)] {
        let types: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| line["type"].as_str().unwrap().to_owned())
            .collect();
        let wanted = ["opened", "login_event", "event", "login_event", "closed"];
        assert_eq!(types, wanted);
    }
}

#[test]
fn a_search_finds_work_of_sshd_and_pam_on_request_only() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let id = a_session_with_hooks(&mut reading).to_string();
    let found = |more: &[&str]| {
        let args = [&[&*id, "--grep", "now", "-o", "json"], more].concat();
        let central: Value = reading.json(&[&["session"], &*args].concat());
        let local: Value = serde_json::from_str(&reading.shows_locally(&args)).unwrap();
        let counts = |document: &Value| {
            let session = &document["sessions"][0];
            ["events", "login_events"].map(|key| session[key].as_array().unwrap().len())
        };
        assert_eq!(counts(&central), counts(&local), "{more:?}");
        counts(&central)
    };
    assert_eq!(found(&[]), [1, 0]);
    assert_eq!(found(&["--login-work"]), [1, 2]);
}

#[test]
fn a_record_too_short_to_say_its_phase_stops_no_search() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let id = a_session_with_hooks(&mut reading);
    let cut = format!(
        "update vctl.kernel_event set head = substring(head from 1 for 100) \
         where session_id = '{id}' and seq = 1"
    );
    reading.centre.ask(&cut).unwrap();
    let shown = reading.shows(&["session", &id.to_string(), "--grep", "now"]);
    assert!(shown.contains(OF_USER), "{shown}");
}
