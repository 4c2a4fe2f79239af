//! Hosts that were renamed publish under two names, and another machine may have the former one.

use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::ship::Source;

use super::rename::desk::Desk;
use super::stream::Fleet;

/// Returns a server with accounts for all names, and an administrator. The first name is a host.
fn fleet(name: &str, names: &[&str]) -> Option<(Fleet, Desk)> {
    let desk = Desk::open()?;
    let fleet = Fleet::of_known(name, names)?;
    desk.enrol(names[0]);
    Some((fleet, desk))
}

#[test]
fn a_new_host_stores_nothing_under_another_one() {
    let (old, new) = ("js-name-1", "js-name-2");
    let Some((fleet, desk)) = fleet("former", &[old]) else {
        return;
    };
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut first = fleet.source(old);
    let id = first.log_in(1).unwrap();
    let shipper = fleet.ship(&first, old);
    first.work(id, 10).unwrap();
    fleet.ensure_has(old, &first);
    desk.rename(old, new);
    // The renamed machine still has the key of its former name.
    first.work(id, 10).unwrap();
    fleet.ensure_has(new, &first);
    fleet.ensure_empty();
    drop(shipper);

    // `vctl add`, without an enrolment: a machine on JetStream needs none.
    let added = format!("insert into vctl.servers (hostname, ip) values ('{old}', '10.0.0.9')");
    fleet.centre.ask(&added).unwrap();
    let mut second = fleet.source("js-name-1-again");
    let id = second.log_in(2).unwrap();
    let _shipper = fleet.ship(&second, old);
    second.work(id, 10).unwrap();
    let said = eventually(PATIENCE, || {
        let logged = ingest.logged()?;
        Ok(logged.contains(&format!("`{old}` is a former name of host `{new}`")))
    });
    assert!(said.unwrap(), "{}", ingest.logged().unwrap());
    fleet.ensure_has(new, &first);
}

#[test]
fn a_rename_with_batches_in_the_stream_loses_none() {
    let (old, new) = ("js-moved-1", "js-moved-2");
    let Some((fleet, desk)) = fleet("moved", &[old, new]) else {
        return;
    };
    let mut ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source(old);
    let id = source.log_in(1).unwrap();
    source.work(id, 1).unwrap();
    let shipper = fleet.ship(&source, old);
    fleet.ensure_has(old, &source);
    fleet.ensure_empty();
    ingest.kill().unwrap();
    // Several: the batch with the new name arrives at the consumer while they are stored.
    for _ in 0..6 {
        source.work(id, 900).unwrap();
        Fleet::ensure_shipped(&shipper, &source);
    }
    drop(shipper);
    desk.rename(old, new);
    let shipper = fleet.ship(&source, new);
    source.work(id, 10).unwrap();
    Fleet::ensure_shipped(&shipper, &source);
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    fleet.ensure_has(new, &source);
    fleet.ensure_empty();
    assert_eq!(fleet.gaps(new), "", "{}", ingest.logged().unwrap());
}

#[test]
fn messages_of_before_a_rename_hold_up_none_of_after_it() {
    let (old, new) = ("js-unknown-1", "js-unknown-2");
    let Some((fleet, desk)) = fleet("unknown", &[old, new]) else {
        return;
    };
    fleet.nats.create_stream(1 << 30, 1).unwrap();
    let mut source = fleet.source(old);
    let id = source.log_in(1).unwrap();
    source.work(id, 10).unwrap();
    let shipper = fleet.ship(&source, old);
    Fleet::ensure_shipped(&shipper, &source);
    drop(shipper);
    // A restarted agent continues where the last one stopped.
    let (spool, truth) = (source.dir.clone(), std::mem::take(&mut source.sessions));
    drop(source);
    let mut source = Source::open(&spool, 1 << 20, 1 << 30).unwrap();
    source.sessions = truth;
    // No batch was stored, so the former name cannot be proven and its message is refused.
    desk.rename(old, new);
    let shipper = fleet.ship(&source, new);
    source.work(id, 10).unwrap();
    Fleet::ensure_shipped(&shipper, &source);
    let ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let stored = format!(
        "select count(*) from vctl.kernel_event where session_id = '{id}' and seq between 11 and 20"
    );
    let came = eventually(PATIENCE, || Ok(fleet.centre.ask(&stored)? == "10"));
    assert!(came.unwrap(), "{}", ingest.logged().unwrap());
    assert_eq!(fleet.gaps(new), "stream_lost|t|1");
}
