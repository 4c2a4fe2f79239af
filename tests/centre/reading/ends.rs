//! Sessions that probably never get an end, and logins with an unreadable certificate.

use vctl_common::session::JournalEntry;

use super::Reading;

#[test]
fn a_session_of_a_boot_that_is_over_is_not_live() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let opened = reading.log_in(None);
    reading.exec(opened.id, &[b"true"]);
    reading.ship();
    reading.wait_for_events(opened.id, 1);
    let id = opened.id.to_string();
    let shown = |reading: &Reading| {
        let session = reading.json(&["session", &id, "-o", "json"])["sessions"][0].clone();
        let text = reading.shows(&["session", &id]);
        (
            session["open"].clone(),
            session["end_unknown"].clone(),
            text,
        )
    };
    let (open, unknown, text) = shown(&reading);
    assert_eq!((open, unknown), (true.into(), false.into()));
    assert!(text.contains("still open"), "{text}");
    // The host was installed again: another boot reported data since then.
    let sql =
        format!("update vctl.audit_session set boot_id = gen_random_uuid() where id = '{id}'");
    reading.centre.ask(&sql).unwrap();
    let (open, unknown, text) = shown(&reading);
    assert_eq!((open, unknown), (true.into(), true.into()));
    assert!(
        text.contains("unknown: no end is recorded") && text.contains("no end recorded: 1 event"),
        "{text}"
    );
    let list = reading.shows(&["session", "--list", "-n", "0"]);
    let line = list.lines().find(|line| line.contains(&id)).unwrap();
    assert!(line.contains("unknown") && !line.contains("live"), "{line}");
    // A late end still counts.
    reading.log_out(opened.id, 1);
    reading.wait_for(opened.id, 1);
    let (open, unknown, _) = shown(&reading);
    assert_eq!((open, unknown), (false.into(), false.into()));
}

#[test]
fn a_certificate_that_cannot_be_read_is_listed_as_unexplained() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let mut hidden = reading.opening(None);
    hidden.auth.unreadable_certificate = true;
    let plain = reading.opening(None);
    for opened in [&hidden, &plain] {
        reading.record(&JournalEntry::Opened(Box::new(opened.clone())));
        reading.source.sessions.insert(opened.id, 0);
        reading.exec(opened.id, &[b"true"]);
    }
    for id in [hidden.id, plain.id] {
        reading.log_out(id, 1);
    }
    reading.ship();
    for id in [hidden.id, plain.id] {
        reading.wait_for(id, 1);
    }
    let list = reading.shows(&["audit", "--without-access", "-n", "0", "-o", "name"]);
    assert!(list.contains(&hidden.id.to_string()), "{list}");
    assert!(!list.contains(&plain.id.to_string()), "{list}");
    let count =
        "select contradicted >= 1 from vctl.doubtful_logins_v1() where hostname = 'synthetic'";
    assert_eq!(reading.centre.ask(count).unwrap(), "t");
}
