//! The operator's repairs of deploy/nats/README.md, with the key of `nats-accounts --operator`.

use std::time::Duration;

use anyhow::Result;
use async_nats::jetstream;
use serde_json::Value;
use vctl_agent::nats::{CONSUMER, STREAM, SUBJECT};
use vctl_tests::lab::{PATIENCE, eventually};

use super::stream::Fleet;

/// Each batch has its own number of events, so the stored ones tell which batch is missing.
const BATCHES: [u64; 4] = [3, 50, 7, 11];

/// `nats stream rmm VCTL_EVENTS SEQ`.
#[test]
fn one_poison_batch_is_removed_and_those_behind_it_stored() {
    let host = "js-poison";
    let Some(fleet) = Fleet::of_spec("poison", &[host]) else {
        return;
    };
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    let shipper = fleet.ship(&source, host);
    Fleet::ensure_shipped(&shipper, &source);
    for count in BATCHES {
        source.work(id, count).unwrap();
        Fleet::ensure_shipped(&shipper, &source);
    }
    drop(shipper);
    poison(&fleet, host, 2).unwrap();
    let before = fleet.nats.messages().unwrap();

    let mut ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let said = eventually(PATIENCE, || {
        Ok(ingest
            .logged()?
            .contains("A batch of this host is not stored"))
    });
    assert!(said.unwrap(), "{}", ingest.logged().unwrap());
    let logged = ingest.logged().unwrap();
    assert!(logged.contains("vctl.events.js-poison"), "{logged}");
    let number = logged.split("stream_sequence=").nth(1).unwrap_or_default();
    let number: String = number.chars().take_while(char::is_ascii_digit).collect();
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{logged}"));
    let front_is_stored = eventually(PATIENCE, || Ok(fleet.nats.messages()? < before));
    assert!(front_is_stored.unwrap(), "{}", ingest.logged().unwrap());
    ingest.kill().unwrap();
    let removed = fleet.nats.operate(async |context| {
        let stream = context.get_stream(STREAM).await?;
        Ok(stream.delete_message(number).await?)
    });
    assert!(removed.unwrap());

    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    fleet.ensure_empty();
    let numbers = format!(
        "select string_agg(seq::text, ',' order by seq) from vctl.kernel_event where session_id = '{id}'"
    );
    let stored: Vec<u64> = (1..=3).chain(54..=71).collect();
    let stored: Vec<String> = stored.iter().map(u64::to_string).collect();
    assert_eq!(fleet.centre.ask(&numbers).unwrap(), stored.join(","));
    assert_eq!(fleet.gaps(host), "stream_lost|t|1");
}

/// `nats stream purge VCTL_EVENTS --subject vctl.events.HOST`, `nats stream edit`, `nats consumer rm`.
#[test]
fn the_operator_removes_and_changes_what_no_other_user_may() {
    let (host, other) = ("js-repair-1", "js-repair-2");
    let Some(fleet) = Fleet::of_known("repair", &[host, other]) else {
        return;
    };
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    for name in [host, host, other] {
        let sent = fleet.nats.as_user(name, async |client| {
            client.request(SUBJECT, "x".into()).await?;
            Ok(())
        });
        sent.unwrap();
    }
    // The server answers the operator, so no answer is a refusal.
    let info = format!("$JS.API.STREAM.INFO.{STREAM}");
    assert!(is_answered(&fleet, "operator", info).unwrap());
    for user in ["ingest", host] {
        for request in [
            "STREAM.PURGE",
            "STREAM.UPDATE",
            "STREAM.DELETE",
            "STREAM.MSG.DELETE",
        ] {
            let subject = format!("$JS.API.{request}.{STREAM}");
            assert!(
                !is_answered(&fleet, user, subject).unwrap(),
                "{user}: {request}"
            );
        }
    }
    let subject = format!("{SUBJECT}.{host}");
    let left = fleet.nats.operate(async |context| {
        let mut stream = context.get_stream(STREAM).await?;
        stream.purge().filter(subject).await?;
        let mut config = stream.info().await?.config.clone();
        config.discard_new_per_subject = true;
        config.max_messages_per_subject = 320;
        config.max_message_size = 2 << 20;
        context.update_stream(config).await?;
        stream.delete_consumer(CONSUMER).await?;
        let info = stream.info().await?;
        Ok((info.state.messages, info.config.max_messages_per_subject))
    });
    assert_eq!(left.unwrap(), (1, 320));
}

/// Returns whether the server answers a request of a user.
fn is_answered(fleet: &Fleet, user: &str, subject: String) -> Result<bool> {
    fleet.nats.as_user(user, async |client| {
        let asked = client.request(subject, "{}".into());
        let asked = tokio::time::timeout(Duration::from_secs(2), asked).await;
        Ok(matches!(asked, Ok(Ok(_))))
    })
}

/// Makes Postgres refuse a message of the host: `nth` from 0. The others are published again as they were.
fn poison(fleet: &Fleet, host: &str, nth: usize) -> Result<()> {
    let messages = fleet.nats.operate(async |context| {
        let stream = context.get_stream(STREAM).await?;
        let mut messages = Vec::new();
        let last = stream.cached_info().state.last_sequence;
        for number in 1..=last {
            messages.push(stream.get_raw_message(number).await?.payload.to_vec());
        }
        stream.purge().await?;
        Ok(messages)
    })?;
    assert!(messages.len() == BATCHES.len() + 1, "{}", messages.len());
    fleet.nats.as_user(host, async |client| {
        let context = jetstream::new(client);
        for (n, message) in messages.into_iter().enumerate() {
            let message = if n == nth {
                spoiled(&message)?
            } else {
                message
            };
            context.publish(SUBJECT, message.into()).await?.await?;
        }
        Ok(())
    })
}

/// Returns a message with a version of the agent that is too long for Postgres.
fn spoiled(message: &[u8]) -> Result<Vec<u8>> {
    with_header(message, |header| {
        header["agent_version"] = "1".repeat(65).into();
    })
}

/// Returns the last message of a host with another header.
pub(super) fn last_with(
    fleet: &Fleet,
    host: &str,
    change: impl FnOnce(&mut Value),
) -> Result<Vec<u8>> {
    let last = fleet.nats.operate(async |context| {
        let stream = context.get_stream(STREAM).await?;
        let subject = format!("{SUBJECT}.{host}");
        let last = stream.get_last_raw_message_by_subject(&subject).await?;
        Ok(last.payload)
    })?;
    with_header(&last, change)
}

fn with_header(message: &[u8], change: impl FnOnce(&mut Value)) -> Result<Vec<u8>> {
    let len = u32::from_le_bytes(message[8..12].try_into()?) as usize;
    let (header, rest) = message[12..].split_at(len);
    let mut header: Value = serde_json::from_slice(header)?;
    change(&mut header);
    let header = serde_json::to_vec(&header)?;
    let len = u32::try_from(header.len())?.to_le_bytes();
    Ok([&message[..8], &len, &header, rest].concat())
}
