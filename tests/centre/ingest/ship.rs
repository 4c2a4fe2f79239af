//! The data in a host's spool arrives at the centre, by Postgres and by JetStream: all of it, once and unchanged.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use vctl_agent::centre::Centre as Where;
use vctl_agent::store::Shipper;
use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::time::BootNs;
use vctl_tests::centre::{Centre, HostIdentity};
use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::ship::{Source, exec};

use super::stream::Road;

const SEGMENT: u64 = 256 << 10;
const CAP: u64 = 1 << 30;

struct Host {
    centre: &'static Centre,
    road: Road,
    identity: HostIdentity,
    dir: tempfile::TempDir,
}

impl Host {
    fn of_spec(name: &str) -> Option<Self> {
        Self::on(Road::Postgres, name)
    }

    fn on(road: Road, name: &str) -> Option<Self> {
        let centre = Centre::shared()?;
        Some(Self {
            identity: centre.enroll(&road.host(name)).unwrap(),
            road,
            centre,
            dir: tempfile::tempdir().unwrap(),
        })
    }

    fn source(&self) -> Source {
        Source::open(&self.dir.path().join("spool"), SEGMENT, CAP).unwrap()
    }

    fn way(&self) -> Where {
        self.centre.way(&self.identity, self.dir.path()).unwrap()
    }

    fn ship(&self, source: &Source) -> Shipper {
        self.road.ship(source, &self.way()).unwrap()
    }

    fn ensure_has(&self, source: &Source) {
        let host = &self.identity.name;
        let truth = &source.sessions;
        self.centre.ensure_has(host, truth, PATIENCE).unwrap();
    }
}

#[test]
fn sessions_arrive_complete_with_their_journal() {
    for road in Road::both() {
        sessions_arrive_complete_by(road);
    }
}

fn sessions_arrive_complete_by(road: Road) {
    let Some(host) = Host::on(road, "ship-whole") else {
        return;
    };
    let mut source = host.source();
    let alice = source.log_in(u64::MAX).unwrap();
    let bob = source.log_in(7).unwrap();
    let _shipper = host.ship(&source);
    for _ in 0..40 {
        source.work(alice, 70).unwrap();
        source.work(bob, 35).unwrap();
    }
    source.log_out(alice).unwrap();
    host.ensure_has(&source);
    let sql = format!(
        "select cert_serial, key_id, login_user, origin, stamp, produced = stored, execs * 2 = stored, \
            closed_at > opened_at, opened ->> 'entry', closed ->> 'reason' \
         from vctl.audit_session where id = '{alice}'"
    );
    let closed = eventually(PATIENCE, || {
        Ok(host.centre.ask(&sql)?.contains("last_process"))
    });
    assert!(closed.unwrap(), "{}", host.centre.ask(&sql).unwrap());
    assert_eq!(
        host.centre.ask(&sql).unwrap(),
        "18446744073709551615|oidc-person-18446744073709551615|deploy|login|in_time|t|t|t|opened|last_process_ended"
    );
}

#[test]
fn every_byte_of_a_record_is_at_the_centre() {
    for road in Road::both() {
        every_byte_of_a_record_arrives_by(road);
    }
}

fn every_byte_of_a_record_arrives_by(road: Road) {
    let Some(host) = Host::on(road, "ship-bytes") else {
        return;
    };
    let mut source = host.source();
    let id = source.log_in(1).unwrap();
    let all: Vec<u8> = (0..=255).collect();
    let large = vec![b'\xff'; 128 << 10];
    let hostile: [[&[u8]; 4]; 4] = [
        [&all, &all, &all, &all],
        [b"", b"", b"", b""],
        [b"/bin/\xff", b"/\x1b[2J", b"\0", b"a\0\0b\0"],
        [b"/x", b"/", b"x", &large],
    ];
    let mut records = BTreeMap::new();
    for (seq, strings) in (1..).zip(hostile) {
        let record = exec(id, seq, source.tick(), strings);
        source.event(id, &record).unwrap();
        records.insert(seq, record);
    }
    let _shipper = host.ship(&source);
    host.ensure_has(&source);
    for (seq, record) in records {
        let sql = format!(
            "select encode(sha256(head || exe || cwd || filename || argv), 'hex') \
             from vctl.kernel_event where session_id = '{id}' and seq = {seq}"
        );
        let digest = ring::digest::digest(&ring::digest::SHA256, &record);
        let half = |n: usize| u128::from_be_bytes(digest.as_ref()[n..n + 16].try_into().unwrap());
        let hex = format!("{:032x}{:032x}", half(0), half(16));
        assert_eq!(host.centre.ask(&sql).unwrap(), hex, "record {seq}");
    }
}

#[test]
fn a_repeated_gap_is_stored_once() {
    for road in Road::both() {
        a_repeated_gap_arrives_once_by(road);
    }
}

fn a_repeated_gap_arrives_once_by(road: Road) {
    let Some(host) = Host::on(road, "ship-gap") else {
        return;
    };
    let mut source = host.source();
    let id = source.log_in(1).unwrap();
    let gap = |session| {
        let gap = Gap::new(GapCause::RingFull, session, BootNs(5), BootNs(6));
        JournalEntry::Gap(gap.with_events(3))
    };
    for _ in 0..3 {
        source.note(&gap(Some(id))).unwrap();
        source.note(&gap(None)).unwrap();
    }
    let _shipper = host.ship(&source);
    source.work(id, 10).unwrap();
    host.ensure_has(&source);
    let sql = format!(
        "select count(*), count(session_id), min(cause), sum(events) from vctl.audit_gap g \
         join vctl.audit_host h on h.id = g.host_id where h.hostname = '{}'",
        host.identity.name
    );
    assert_eq!(host.centre.ask(&sql).unwrap(), "2|1|ring_full|6");
}

#[test]
fn a_restored_spool_is_shipped_without_duplicates() {
    let Some(host) = Host::of_spec("ship-copy") else {
        return;
    };
    let mut source = host.source();
    let id = source.log_in(1).unwrap();
    source.work(id, 500).unwrap();
    let copy = host.dir.path().join("copy");
    copy_dir(&source.dir, &copy);
    let shipper = source.ship(&host.way()).unwrap();
    source.work(id, 300).unwrap();
    host.ensure_has(&source);
    let first = source.writer.id();
    let truth = source.sessions.clone();
    drop((shipper, source));

    fs::remove_dir_all(host.dir.path().join("spool")).unwrap();
    copy_dir(&copy, &host.dir.path().join("spool"));
    let mut source = host.source();
    assert_eq!(source.writer.id(), first, "the copy has another id");
    let other = source.log_in(2).unwrap();
    source.work(other, 2000).unwrap();
    let shipper = source.ship(&host.way()).unwrap();
    source.sessions.extend(truth);
    host.ensure_has(&source);
    let status = shipper.progress().status();
    assert_ne!(
        status.spool_id,
        Some(first),
        "a different history has the old id"
    );
}

#[test]
fn a_removed_host_keeps_its_data_until_it_is_back() {
    let Some(host) = Host::of_spec("ship-removed") else {
        return;
    };
    let mut source = host.source();
    let id = source.log_in(1).unwrap();
    let shipper = source.ship(&host.way()).unwrap();
    source.work(id, 10).unwrap();
    host.ensure_has(&source);
    let name = &host.identity.name;
    let out = format!("delete from vctl.servers where hostname = '{name}'");
    host.centre.ask(&out).unwrap();
    source.work(id, 20).unwrap();
    let told = eventually(PATIENCE, || {
        let problem = shipper.progress().status().problem;
        Ok(problem.is_some_and(|why| why.contains("not in the inventory")))
    });
    assert!(told.unwrap(), "{:?}", shipper.progress().status());
    let back = format!("insert into vctl.servers (hostname, ip) values ('{name}', '127.0.0.1')");
    host.centre.ask(&back).unwrap();
    host.ensure_has(&source);
    assert_eq!(shipper.progress().status().problem, None);
}

#[test]
fn a_login_that_is_revoked_while_it_ships_is_replaced() {
    let Some(host) = Host::of_spec("ship-revoked") else {
        return;
    };
    let mut source = host.source();
    let id = source.log_in(1).unwrap();
    let _shipper = source.ship(&host.way()).unwrap();
    source.work(id, 10).unwrap();
    host.ensure_has(&source);
    let admin = host.centre.bao.admin().unwrap();
    let role = host.identity.role("audit-ingest");
    let path = format!("sys/leases/revoke-prefix/database/creds/{role}");
    admin.post(&path, &serde_json::json!({})).unwrap();
    source.work(id, 500).unwrap();
    host.ensure_has(&source);
}

#[test]
fn a_wrapped_secret_id_is_unwrapped_once_and_stored() {
    let Some(host) = Host::of_spec("ship-wrapped") else {
        return;
    };
    let way = host.way();
    let admin = host.centre.bao.admin().unwrap();
    let path = format!("auth/approle/role/{}/secret-id", host.identity.approle);
    let wrapped = admin.wrapped(&path).unwrap();
    fs::write(&way.secret_id_file, wrapped.expose()).unwrap();
    let mut source = host.source();
    let id = source.log_in(1).unwrap();
    source.work(id, 5).unwrap();
    let shipper = source.ship(&way).unwrap();
    host.ensure_has(&source);
    let kept = fs::read_to_string(&way.secret_id_file).unwrap();
    assert_ne!(kept.trim(), wrapped.expose());
    drop(shipper);
    source.work(id, 5).unwrap();
    let shipper = source.ship(&way).unwrap();
    host.ensure_has(&source);
    let told = eventually(Duration::from_secs(5), || {
        Ok(shipper.progress().status().secret_id_expires_at.is_some())
    });
    assert!(told.unwrap(), "the expiry time is unknown");
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
