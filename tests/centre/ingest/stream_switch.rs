//! Changes in operation: a consumer that is stopped, and a host that changes its way.

use vctl_agent::store::{JetStream, Route};
use vctl_tests::lab::{PATIENCE, eventually};

use super::stream::Fleet;

#[test]
fn a_stopped_consumer_leaves_its_batches_to_the_next() {
    let host = "js-stopped";
    let Some(fleet) = Fleet::of_spec("stopped", &[host]) else {
        return;
    };
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    let _shipper = fleet.ship(&source, host);
    let count = format!("select count(*) from vctl.kernel_event where session_id = '{id}'");
    for _ in 0..4 {
        let ingest = fleet.nats.ingest(fleet.centre).unwrap();
        let stored = || fleet.centre.ask(&count);
        let before = stored().unwrap();
        let works = eventually(PATIENCE, || {
            source.work(id, 300)?;
            Ok(stored()? != before)
        });
        assert!(works.unwrap(), "{}", ingest.logged().unwrap());
        source.work(id, 3000).unwrap();
        // SIGTERM, with batches in flight.
        drop(ingest);
    }
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    fleet.ensure_has(host, &source);
    fleet.ensure_empty();
    assert_eq!(fleet.gaps(host), "");
}

#[test]
fn a_host_changes_its_way_and_back_without_a_gap() {
    let host = "js-switch";
    let Some(fleet) = Fleet::of_known("switch", &[host]) else {
        return;
    };
    let identity = fleet.centre.enroll(host).unwrap();
    let way = fleet.centre.way(&identity, fleet.dir.path()).unwrap();
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    source.work(id, 50).unwrap();
    let shipper = source.ship(&way).unwrap();
    fleet.ensure_has(host, &source);
    drop(shipper);

    // With `vault_addr` and `db_host`, as an enrolled host has them: the secret id is looked up, and Postgres is not used.
    let logins = "select count(*) from pg_roles where rolname like 'ingest/js-switch.%'";
    let revoked = eventually(PATIENCE, || Ok(fleet.centre.ask(logins)? == "0"));
    assert!(revoked.unwrap());
    let route = Route::JetStream(Box::new(JetStream {
        nats: fleet.nats.address(host),
        centre: Some(way.clone()),
    }));
    let shipper = source.ship_by(uuid::Uuid::nil(), route).unwrap();
    source.work(id, 50).unwrap();
    fleet.ensure_has(host, &source);
    fleet.ensure_empty();
    let looked = eventually(PATIENCE, || {
        Ok(shipper.progress().status().secret_id_expires_at.is_some())
    });
    assert!(looked.unwrap(), "{:?}", shipper.progress().status());
    assert_eq!(fleet.centre.ask(logins).unwrap(), "0");
    drop(shipper);

    let _shipper = source.ship(&way).unwrap();
    source.work(id, 50).unwrap();
    fleet.ensure_has(host, &source);
    assert_eq!(fleet.gaps(host), "");
}
