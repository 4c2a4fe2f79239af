//! A host that sends bytes which are no batch: its messages are removed, it is named, and no other host waits.

use vctl_agent::nats::SUBJECT;
use vctl_tests::lab::{PATIENCE, eventually};

use super::stream::Fleet;

/// The server delivers headers as their publisher wrote them. Each of these ended a consumer or its connection.
const HEADERS: [&[u8]; 6] = [
    b"NATS/1.0\r\nX: a\rb\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\nX: \xff\xfe\r\n\r\n",
    b"HELLO\r\n\r\n",
    b"NATS/1.0 408 Consumer Deleted\r\n\r\n",
    b"NATS/1.0 499 x\r\n\r\n",
];

#[test]
fn headers_of_one_host_stop_no_other_host() {
    let (hostile, other) = ("js-headers", "js-quiet");
    let Some(fleet) = Fleet::of_spec("headers", &[hostile, other]) else {
        return;
    };
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let made = eventually(PATIENCE, || Ok(fleet.nats.messages().is_ok()));
    assert!(made.unwrap(), "{}", ingest.logged().unwrap());
    let mut source = fleet.source(other);
    let id = source.log_in(1).unwrap();
    let _shipper = fleet.ship(&source, other);
    for header in HEADERS {
        let messages: [(&[u8], &[u8]); 2] = [(header, b"x"), (header, b"")];
        fleet.nats.publish_raw(hostile, SUBJECT, &messages).unwrap();
        source.work(id, 3).unwrap();
        fleet.ensure_has(other, &source);
    }
    fleet.ensure_empty();
    let logged = ingest.logged().unwrap();
    assert!(!logged.contains("Batches are not stored"), "{logged}");
    let named = logged.matches("the message is not a batch").count();
    assert_eq!(named, 2 * HEADERS.len(), "{logged}");
    assert!(
        logged.contains("subject=vctl.events.js-headers"),
        "{logged}"
    );
}

/// Positions are 64 bits in a message and 63 in Postgres.
#[test]
fn a_position_beyond_postgres_is_removed_and_named() {
    let host = "js-position";
    let Some(fleet) = Fleet::of_spec("position", &[host]) else {
        return;
    };
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    source.work(id, 3).unwrap();
    let shipper = fleet.ship(&source, host);
    Fleet::ensure_shipped(&shipper, &source);
    drop(shipper);
    let beyond = super::stream_repair::last_with(&fleet, host, |header| {
        header["to"]["segment"] = u64::MAX.into();
    });
    let sent = fleet.nats.as_user(host, async |client| {
        client.request(SUBJECT, beyond?.into()).await?;
        Ok(())
    });
    sent.unwrap();
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    fleet.ensure_has(host, &source);
    fleet.ensure_empty();
    let logged = ingest.logged().unwrap();
    assert!(logged.contains("its position is too large"), "{logged}");
    assert_eq!(fleet.gaps(host), "");
}
