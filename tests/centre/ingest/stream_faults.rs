//! JetStream is away, full, slow, or has lost data; a consumer is killed. Nothing is lost or doubled in silence.

use std::thread::sleep;
use std::time::Duration;

use vctl_tests::lab::{PATIENCE, eventually};

use super::stream::{Fleet, REDELIVERED};

#[test]
fn killed_consumers_and_a_killed_server_double_nothing() {
    let hosts: Vec<String> = (0..6).map(|n| format!("js-killed-{n}")).collect();
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let Some(fleet) = Fleet::of_spec("killed", &names) else {
        return;
    };
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    let mut sources: Vec<_> = hosts.iter().map(|host| fleet.source(host)).collect();
    let ids: Vec<_> = sources
        .iter_mut()
        .map(|source| source.log_in(1).unwrap())
        .collect();
    let ships: Vec<_> = sources
        .iter()
        .zip(&hosts)
        .map(|(source, host)| fleet.ship(source, host))
        .collect();
    let mut first = fleet.nats.ingest(fleet.centre).unwrap();
    let second = fleet.nats.ingest(fleet.centre).unwrap();
    for round in 0..12 {
        for (source, id) in sources.iter_mut().zip(&ids) {
            source.work(*id, 150).unwrap();
        }
        sleep(Duration::from_millis(150));
        match round {
            3 | 8 => {
                first.kill().unwrap();
                first = fleet.nats.ingest(fleet.centre).unwrap();
            }
            5 => {
                fleet.nats.kill().unwrap();
                fleet.nats.start_again().unwrap();
            }
            _ => {}
        }
    }
    sleep(REDELIVERED);
    for (source, host) in sources.iter().zip(&hosts) {
        fleet.ensure_has(host, source);
        assert_eq!(fleet.gaps(host), "", "{host}");
    }
    fleet.ensure_empty();
    drop((ships, first, second));
}

#[test]
fn a_full_stream_leaves_the_records_in_the_spool() {
    let Some(fleet) = Fleet::of_spec("full", &["js-full"]) else {
        return;
    };
    fleet.nats.create_stream(300 << 10, 1).unwrap();
    let mut source = fleet.source("js-full");
    let id = source.log_in(1).unwrap();
    let shipper = fleet.ship(&source, "js-full");
    for _ in 0..10 {
        source.work(id, 400).unwrap();
    }
    Fleet::ensure_said(&shipper, "the stream is full");
    Fleet::ensure_said(&shipper, "vctl-agent ingest");
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    fleet.ensure_has("js-full", &source);
    assert_eq!(fleet.gaps("js-full"), "");
}

#[test]
fn a_purged_stream_leaves_a_gap() {
    let Some(fleet) = Fleet::of_spec("purged", &["js-purged"]) else {
        return;
    };
    let host = "js-purged";
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    let shipper = fleet.ship(&source, host);
    source.work(id, 10).unwrap();
    Fleet::ensure_shipped(&shipper, &source);
    let mut ingest = fleet.nats.ingest(fleet.centre).unwrap();
    fleet.ensure_has(host, &source);
    fleet.ensure_empty();
    ingest.kill().unwrap();

    let lost = source.log_in(2).unwrap();
    source.work(lost, 30).unwrap();
    Fleet::ensure_shipped(&shipper, &source);
    fleet.nats.purge().unwrap();
    source.work(id, 10).unwrap();
    Fleet::ensure_shipped(&shipper, &source);
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    source.sessions.remove(&lost);
    fleet.ensure_has(host, &source);
    assert_eq!(fleet.gaps(host), "stream_lost|t|1");
    // From the tenth event on, by the host's clock: that is the last one that was stored before. Postgres rounds to
    // microseconds.
    let from = format!(
        "select extract(epoch from g.from_at - e.at) from vctl.audit_gap g \
         join vctl.audit_host h on h.id = g.host_id join vctl.kernel_event e on e.host_id = g.host_id \
         where h.hostname = '{host}' and e.session_id = '{id}' and e.seq = 10"
    );
    let seconds: f64 = fleet.centre.ask(&from).unwrap().parse().unwrap();
    assert!(seconds.abs() < 0.001, "{seconds}");
    let logged = ingest.logged().unwrap();
    assert!(
        logged.contains("JetStream lost batches of this host") && logged.contains(host),
        "{logged}"
    );
}

#[test]
fn a_hanging_server_is_named_and_loses_nothing() {
    let Some(fleet) = Fleet::of_spec("hanging", &["js-hanging"]) else {
        return;
    };
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source("js-hanging");
    let id = source.log_in(1).unwrap();
    source.work(id, 10).unwrap();
    fleet.nats.pause().unwrap();
    let shipper = fleet.ship(&source, "js-hanging");
    Fleet::ensure_said(&shipper, "cannot reach NATS");
    source.work(id, 10).unwrap();
    fleet.nats.go_on().unwrap();
    fleet.ensure_has("js-hanging", &source);
    assert_eq!(shipper.progress().status().problem, None);
}

#[test]
fn a_missing_stream_is_named_until_a_consumer_makes_it() {
    let Some(fleet) = Fleet::of_spec("missing", &["js-missing"]) else {
        return;
    };
    let mut source = fleet.source("js-missing");
    let id = source.log_in(1).unwrap();
    source.work(id, 10).unwrap();
    let shipper = fleet.ship(&source, "js-missing");
    Fleet::ensure_said(&shipper, "no stream");
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    fleet.ensure_has("js-missing", &source);
}

#[test]
fn a_refused_batch_stays_in_the_stream_and_is_named() {
    let Some(fleet) = Fleet::of_spec("refused", &["js-refused"]) else {
        return;
    };
    let host = "js-refused";
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    source.work(id, 10).unwrap();
    let shipper = fleet.ship(&source, host);
    fleet.ensure_has(host, &source);
    // The centre is shared, so only this host's batches are refused.
    let away = format!("delete from vctl.servers where hostname = '{host}'");
    fleet.centre.ask(&away).unwrap();
    source.work(id, 20).unwrap();
    Fleet::ensure_shipped(&shipper, &source);
    let said = eventually(PATIENCE, || {
        Ok(ingest.logged()?.contains("not in the inventory"))
    });
    assert!(said.unwrap(), "{}", ingest.logged().unwrap());
    assert!(ingest.logged().unwrap().contains(host));
    assert!(fleet.nats.messages().unwrap() > 0);
}
