//! The spool and the centre show a session with the same lines.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::time::BootNs;

use super::{Reading, certificate, unique};

const HOSTILE: &[&[u8]] = &[
    b"sh",
    b"-c",
    b"\x1b[2J \xff\xfe\r\n</script>",
    b"",
    "\u{202e}evil\u{200b}".as_bytes(),
];

/// Waits until no other spec of this file has an open session or records a gap of the host: such a gap counts for each
/// session that is open at its time, and an open session has no end yet.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stores a session with a gap, hostile text and an unusual end. Returns its id.
fn a_session_with_everything(reading: &mut Reading, ca: Option<&str>, serial: u64) -> String {
    let certificate = ca.map(|ca| certificate("userpass-albert", serial, ca));
    let opened = reading.log_in(certificate);
    let id = opened.id;
    reading.exec(id, &[b"ls", b"-la"]);
    reading.exec(id, HOSTILE);
    // The centre never gets this number, and the gap gives the reason.
    let at = BootNs(reading.source.tick());
    *reading.source.sessions.get_mut(&id).unwrap() += 1;
    let gap = Gap::new(GapCause::RingFull, id, at, at).with_events(1);
    reading.record(&JournalEntry::Gap(Gap {
        cpu: Some(0),
        ..gap.with_numbers(3, 3)
    }));
    // This gap belongs to no session, so it counts for every session at that time.
    let of_nobody = Gap::new(GapCause::ProbeSkipped, None, at, at);
    reading.record(&JournalEntry::Gap(of_nobody.with_events(2)));
    reading.exec(id, &[b"id"]);
    reading.log_out(id, 4);
    *reading.source.sessions.get_mut(&id).unwrap() = 3;
    reading.wait_for(id, 3);
    id.to_string()
}

const FORMS: [&[&str]; 4] = [&[], &["--full"], &["--tree"], &["--tree", "--full"]];

#[test]
fn host_and_centre_print_the_same_bytes() {
    let _alone = alone();
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let id = a_session_with_everything(&mut reading, None, 0);
    for form in FORMS {
        let local = reading.shows_locally(&[&[&*id], form].concat());
        let central = reading.shows(&[&["session", &*id], form].concat());
        assert_eq!(central, local, "{form:?}");
    }
    let list = |shown: String| {
        let line = shown
            .lines()
            .find(|line| line.contains(&id))
            .unwrap()
            .to_owned();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        list(reading.shows(&["session", "-n", "0"])),
        list(reading.shows_locally(&["-n", "0"])),
    );
    let grep = |shown: String| shown.split_once("opened").unwrap().1.to_owned();
    assert_eq!(
        grep(reading.shows(&["session", &*id, "--grep", "ls -la"])),
        grep(reading.shows_locally(&[&*id, "--grep", "ls -la"])),
    );
}

#[test]
fn additions_of_the_centre_have_lines_of_their_own() {
    let _alone = alone();
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('s');
    reading.our_ca(&ca);
    reading.ship();
    let id = a_session_with_everything(&mut reading, Some(&ca), 501);
    let without_added = |shown: &str| {
        let added = ["  who ", "  signed ", "  asked "];
        let kept = shown
            .lines()
            .filter(|line| !added.iter().any(|a| line.starts_with(a)));
        kept.map(str::to_owned).collect::<Vec<_>>()
    };
    for form in FORMS {
        let local = reading.shows_locally(&[&[&*id], form].concat());
        let central = reading.shows(&[&["session", &*id], form].concat());
        assert_ne!(central, local);
        assert_eq!(without_added(&central), without_added(&local), "{form:?}");
    }
    let shown = reading.shows(&["session", &*id]);
    assert!(shown.contains("who       ?albert\n"), "{shown}");
    assert!(
        shown.contains("signed    by our own CA, Vault mount ssh"),
        "{shown}"
    );
    let full = reading.shows(&["session", &*id, "--full"]);
    assert!(
        full.contains("who       ?albert (userpass-albert)\n"),
        "{full}"
    );

    let spool = reading.source.dir.to_str().unwrap().to_owned();
    let mut central = reading.json(&["session", &*id, "--json"]);
    let mut local = reading.json(&["session", "--local", "--spool", &spool, &*id, "--json"]);
    let session = central["sessions"][0].as_object_mut().unwrap();
    assert_eq!(session["person"], "userpass-albert");
    for added in ["person", "ca", "ca_mount", "requests", "more_requests"] {
        assert_ne!(session.remove(added), None, "{added}");
    }
    // The host and the centre trust different CAs.
    for document in [&mut central, &mut local] {
        let session = document["sessions"][0].as_object_mut().unwrap();
        assert_ne!(session.remove("verification"), None);
    }
    assert_eq!(central, local);
    assert!(matches!(
        central["sessions"][0]["events_missing"]["counted"],
        Value::Number(_)
    ));
}

#[test]
fn following_from_the_centre_prints_the_lines_of_the_spool() {
    let _alone = alone();
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let opened = reading.log_in(None);
    let id = opened.id;
    reading.exec(id, &[b"first"]);
    reading.wait_for_events(id, 1);
    let mut follow = reading.command(&["session", "--follow", &id.to_string()]);
    let follow = follow.stdout(std::process::Stdio::piped()).spawn().unwrap();
    reading.exec(id, &[b"second"]);
    reading.wait_for_events(id, 2);
    reading.exec(id, &[b"third"]);
    reading.log_out(id, 3);
    let output = follow.wait_with_output().unwrap();
    assert!(output.status.success());
    let central = String::from_utf8(output.stdout).unwrap();
    let local = reading.shows_locally(&["--follow", &id.to_string()]);
    assert_eq!(central, local);
    assert!(
        central.contains("third") && central.contains("complete: all 3 events"),
        "{central}"
    );
}
