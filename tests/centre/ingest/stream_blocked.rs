//! A host whose batches cannot be stored: its messages wait in the stream, and no other host waits with them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use vctl_agent::nats::{CONSUMER, STREAM, SUBJECT};
use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::ship::exec;

use super::stream::Fleet;

/// Messages behind the refused one: more than a consumer takes from the stream together.
const BEHIND: u64 = 300;
/// Time in which other hosts are observed.
const OBSERVED: Duration = Duration::from_secs(3);

#[test]
fn a_refused_batch_delays_no_other_host() {
    let (owner, stuck, free) = ("js-theirs", "js-stuck", "js-free");
    let Some(fleet) = Fleet::of_spec("stuck", &[owner, stuck, free]) else {
        return;
    };
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source(owner);
    let id = source.log_in(1).unwrap();
    source.work(id, 1).unwrap();
    let shipper = fleet.ship(&source, owner);
    fleet.ensure_has(owner, &source);
    fleet.ensure_empty();
    drop((shipper, source));
    // A batch with a session of another host is refused, and its spool has no cursor: the next ones are ahead.
    let spool = fleet.dir.path().join(owner);
    let _ = std::fs::remove_file(spool.join("shipped.json"));
    std::fs::rename(&spool, fleet.dir.path().join(stuck)).unwrap();
    let source = fleet.source(stuck);
    let shipper = fleet.ship(&source, stuck);
    let said = eventually(PATIENCE, || {
        Ok(ingest.logged()?.contains("is of another host than"))
    });
    assert!(said.unwrap(), "{}", ingest.logged().unwrap());
    drop(shipper);
    publish_later_ones(&fleet, stuck).unwrap();

    let mut other = fleet.source(free);
    let id = other.log_in(2).unwrap();
    other.work(id, 1).unwrap();
    let _shipper = fleet.ship(&other, free);
    fleet.ensure_has(free, &other);
    let (before, begun) = (deliveries(&fleet), Instant::now());
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < OBSERVED {
        other.work(id, 3).unwrap();
        let written = Instant::now();
        fleet.ensure_has(free, &other);
        slowest = slowest.max(written.elapsed());
    }
    let more = deliveries(&fleet) - before;
    assert!(
        more < BEHIND,
        "{more} messages were delivered in {OBSERVED:?}"
    );
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert_eq!(fleet.nats.messages().unwrap(), BEHIND + 1);
    // Waiting messages never stop the delivery of others.
    assert_eq!(consumer(&fleet).config.max_ack_pending, -1);
}

#[test]
fn a_host_fills_only_its_part_of_the_stream() {
    let (large, small) = ("js-large", "js-small");
    let Some(fleet) = Fleet::of_spec("part", &[large, small]) else {
        return;
    };
    let mut ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let made = eventually(PATIENCE, || Ok(fleet.nats.messages().is_ok()));
    assert!(made.unwrap(), "{}", ingest.logged().unwrap());
    ingest.kill().unwrap();
    let config = fleet.nats.operate(async |context| {
        let stream = context.get_stream(STREAM).await?;
        Ok(stream.cached_info().config.clone())
    });
    let config = config.unwrap();
    let part = config.max_messages_per_subject * i64::from(config.max_message_size);
    assert!(
        part > 0 && part * 16 <= config.max_bytes,
        "one host has {part} of {} bytes",
        config.max_bytes
    );
    let sent = |host: &str, bytes: usize| {
        fleet.nats.as_user(host, async |client| {
            let answer = client.request(SUBJECT, vec![7; bytes].into()).await?;
            let answer: Value = serde_json::from_slice(&answer.payload)?;
            Ok(answer["error"].is_null())
        })
    };
    assert!(
        !sent(large, 3 << 20).unwrap(),
        "a message of 3 MiB is stored"
    );
    let most = usize::try_from(config.max_messages_per_subject).unwrap();
    let accepted = fleet.nats.as_user(large, async |client| {
        let mut accepted = 0;
        for _ in 0..most + 2 {
            let answer = client.request(SUBJECT, "x".into()).await?;
            let answer: Value = serde_json::from_slice(&answer.payload)?;
            accepted += usize::from(answer["error"].is_null());
        }
        Ok(accepted)
    });
    assert_eq!(accepted.unwrap(), most);
    assert!(sent(small, 100).unwrap());
}

#[test]
fn a_batch_larger_than_a_message_is_split() {
    let host = "js-split";
    let Some(fleet) = Fleet::of_spec("split", &[host]) else {
        return;
    };
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    // As a copy of the spool's trim: one batch of about 10 MB.
    let argv = vec![b'x'; 100 << 10];
    let records: Vec<_> = (1..=100)
        .map(|seq| exec(id, seq, source.tick(), [b"/x", b"/", b"x", &argv]))
        .collect();
    source.events(id, &records).unwrap();
    source.work(id, 10).unwrap();
    let shipper = fleet.ship(&source, host);
    fleet.ensure_has(host, &source);
    assert_eq!(shipper.progress().status().problem, None);
    fleet.ensure_empty();
    assert_eq!(fleet.gaps(host), "");
}

/// Publishes messages that follow the host's last one in its spool.
fn publish_later_ones(fleet: &Fleet, host: &str) -> Result<()> {
    let last = fleet.nats.operate(async |context| {
        let stream = context.get_stream(STREAM).await?;
        let subject = format!("{SUBJECT}.{host}");
        let last = stream.get_last_raw_message_by_subject(&subject).await?;
        Ok(last.payload)
    })?;
    let messages: Result<Vec<_>> = (1..=BEHIND).map(|n| moved(&last, n * 1000)).collect();
    let messages = messages?;
    fleet.nats.as_user(host, async |client| {
        for message in messages {
            client.request(SUBJECT, message.into()).await?;
        }
        Ok(())
    })
}

/// Returns a message with its place in the spool moved by `bytes`.
fn moved(message: &[u8], bytes: u64) -> Result<Vec<u8>> {
    let len = u32::from_le_bytes(message[8..12].try_into()?) as usize;
    let (header, rest) = message[12..].split_at(len);
    let mut header: Value = serde_json::from_slice(header)?;
    for end in ["from", "to"] {
        let offset = header[end]["offset"].as_u64().context("no offset")?;
        header[end]["offset"] = (offset + bytes).into();
    }
    let header = serde_json::to_vec(&header)?;
    let len = u32::try_from(header.len())?.to_le_bytes();
    Ok([&message[..8], &len, &header, rest].concat())
}

fn consumer(fleet: &Fleet) -> async_nats::jetstream::consumer::Info {
    let info = fleet.nats.operate(async |context| {
        let stream = context.get_stream(STREAM).await?;
        Ok(stream.consumer_info(CONSUMER).await?)
    });
    info.unwrap()
}

/// Returns the number of deliveries, with repeated ones.
fn deliveries(fleet: &Fleet) -> u64 {
    sleep(Duration::from_millis(100));
    consumer(fleet).delivered.consumer_sequence
}
