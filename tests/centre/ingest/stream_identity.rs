//! A host publishes only as itself: the NATS server states the host, and nothing in a message does.

use std::time::Duration;

use futures_util::StreamExt as _;
use vctl_agent::store::Shipper;
use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::ship::Source;

use super::stream::Fleet;

const HOSTS: [&str; 2] = ["js-one", "js-two.example"];

#[test]
fn a_host_publishes_only_as_itself() {
    let Some(fleet) = Fleet::of_spec("self", &HOSTS) else {
        return;
    };
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    for subject in [
        "vctl.events.js-two.example",
        "vctl.events.js-one",
        "vctl.events.js-two.example.x",
        "$JS.API.STREAM.PURGE.VCTL_EVENTS",
        "$JS.API.STREAM.INFO.VCTL_EVENTS",
        "$JS.API.CONSUMER.MSG.NEXT.VCTL_EVENTS.vctl-ingest",
    ] {
        let answer = fleet.nats.as_user(HOSTS[0], async |client| {
            let asked = client.request(subject, "x".into());
            Ok(tokio::time::timeout(Duration::from_millis(500), asked).await)
        });
        let answered = matches!(answer.unwrap(), Ok(Ok(_)));
        assert!(!answered, "{subject} was answered");
    }
    assert_eq!(fleet.nats.messages().unwrap(), 0);
    // Its own subject is stored with its own name.
    let stored = fleet.nats.as_user(HOSTS[0], async |client| {
        let answer = client.request("vctl.events", "x".into()).await?;
        Ok(String::from_utf8_lossy(&answer.payload).into_owned())
    });
    assert!(stored.unwrap().contains("VCTL_EVENTS"));
    let subject = fleet.nats.operate(async |context| {
        let stream = context.get_stream("VCTL_EVENTS").await?;
        Ok(stream.get_raw_message(1).await?.subject.to_string())
    });
    assert_eq!(subject.unwrap(), "vctl.events.js-one");
}

/// Its account has one user, so only its permissions stand between it and these subjects.
#[test]
fn a_host_receives_nothing_but_answers() {
    let host = "js-curious";
    let Some(fleet) = Fleet::of_known("curious", &[host]) else {
        return;
    };
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    let received = fleet.nats.as_user(host, async |client| {
        let mut all = client.subscribe(">").await?;
        let mut answers = client.subscribe("_INBOX.here").await?;
        client.publish("_INBOX.here", "x".into()).await?;
        // The answer shows that the server has seen all of it.
        client.request("vctl.events", "x".into()).await?;
        let half_a_second = Duration::from_millis(500);
        let more = tokio::time::timeout(half_a_second, all.next()).await;
        let own = tokio::time::timeout(half_a_second, answers.next()).await;
        Ok((matches!(more, Ok(Some(_))), matches!(own, Ok(Some(_)))))
    });
    assert_eq!(received.unwrap(), (false, false));
}

#[test]
fn a_batch_about_another_hosts_session_is_refused() {
    let Some(fleet) = Fleet::of_spec("theirs", &["js-thief", "js-owner"]) else {
        return;
    };
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut owner = fleet.source("js-owner");
    let id = owner.log_in(1).unwrap();
    owner.work(id, 20).unwrap();
    let _theirs = fleet.ship(&owner, "js-owner");
    fleet.ensure_has("js-owner", &owner);
    // The thief ships the spool of the owner, as itself.
    let copy = fleet.dir.path().join("stolen");
    copy_dir(&owner.dir, &copy);
    // Written after some seconds: with it, the copy counts as shipped.
    let _ = std::fs::remove_file(copy.join("shipped.json"));
    let mut stolen = Source::open(&copy, 256 << 10, 1 << 30).unwrap();
    let _thief: Shipper = fleet.ship(&stolen, "js-thief");
    let said = eventually(PATIENCE, || {
        let logged = ingest.logged()?;
        Ok(logged.contains("is of another host than `js-thief`"))
    });
    assert!(said.unwrap(), "{}", ingest.logged().unwrap());
    // Others are not held up, and the owner's rows are as before.
    stolen.sessions.clear();
    owner.work(id, 20).unwrap();
    fleet.ensure_has("js-owner", &owner);
    let of_thief = "select count(*) from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id \
                    where h.hostname = 'js-thief'";
    assert_eq!(fleet.centre.ask(of_thief).unwrap(), "0");
}

#[test]
fn bytes_that_are_not_a_batch_delay_no_other_host() {
    let Some(fleet) = Fleet::of_spec("junk", &["js-junk", "js-good"]) else {
        return;
    };
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let junk: [&[u8]; 4] = [
        b"",
        b"VCTL",
        b"VCTL\x01\0\0\0\xff\xff\xff\xff{}",
        b"VCTL\x01\0\0\0\x02\0\0\0{}",
    ];
    let mut good = fleet.source("js-good");
    let id = good.log_in(1).unwrap();
    good.work(id, 10).unwrap();
    let _good = fleet.ship(&good, "js-good");
    fleet.ensure_has("js-good", &good);
    for bytes in junk {
        let sent = fleet.nats.as_user("js-junk", async |client| {
            client.request("vctl.events", bytes.to_vec().into()).await?;
            Ok(())
        });
        sent.unwrap();
    }
    good.work(id, 10).unwrap();
    fleet.ensure_has("js-good", &good);
    fleet.ensure_empty();
    let logged = ingest.logged().unwrap();
    assert!(
        logged.contains("js-junk") && logged.contains("not a batch"),
        "{logged}"
    );
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
