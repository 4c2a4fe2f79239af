//! Records reach Postgres through JetStream: the shared server, and what is special about this way.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Result;
use vctl_agent::centre::Centre as Where;
use vctl_agent::store::Shipper;
use vctl_tests::centre::{Centre, Ingest, Nats, NatsOptions};
use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::ship::Source;

/// The way of a host's records.
#[derive(Clone, Copy)]
pub(super) enum Road {
    Postgres,
    JetStream(&'static Nats),
}

/// Hosts of specs that run on both ways; the server's accounts list them.
const HOSTS: &[&str] = &["ship-whole-js", "ship-bytes-js", "ship-gap-js"];

impl Road {
    /// Returns both ways; none on a machine without a centre.
    pub(super) fn both() -> Vec<Self> {
        static SHARED: OnceLock<Option<(Nats, Ingest)>> = OnceLock::new();
        let Some(centre) = Centre::shared() else {
            return Vec::new();
        };
        let shared = SHARED.get_or_init(|| {
            let options = NatsOptions {
                hosts: HOSTS,
                ..NatsOptions::default()
            };
            let nats = Nats::or_skip(centre, "shared", options)?;
            let ingest = nats.ingest(centre).unwrap();
            Some((nats, ingest))
        });
        let nats = shared.as_ref().map(|(nats, _)| Self::JetStream(nats));
        [Self::Postgres].into_iter().chain(nats).collect()
    }

    /// Returns the name of a spec's host on this way.
    pub(super) fn host(self, name: &str) -> String {
        match self {
            Self::Postgres => name.to_owned(),
            Self::JetStream(_) => format!("{name}-js"),
        }
    }

    pub(super) fn ship(self, source: &Source, way: &Where) -> Result<Shipper> {
        match self {
            Self::Postgres => source.ship(way),
            Self::JetStream(nats) => {
                source.ship_by(uuid::Uuid::nil(), nats.route(way.host.as_str()))
            }
        }
    }
}

/// A server of one spec, and its hosts.
pub(super) struct Fleet {
    pub(super) centre: &'static Centre,
    pub(super) nats: Nats,
    pub(super) dir: tempfile::TempDir,
}

impl Fleet {
    pub(super) fn of_spec(name: &str, hosts: &[&str]) -> Option<Self> {
        let centre = Centre::shared()?;
        for host in hosts {
            centre.enroll(host).unwrap();
        }
        Self::of_known(name, hosts)
    }

    /// Does the same as `of_spec`, for hosts that the spec adds to the inventory.
    pub(super) fn of_known(name: &str, hosts: &[&str]) -> Option<Self> {
        let centre = Centre::shared()?;
        let options = NatsOptions {
            hosts,
            ..NatsOptions::default()
        };
        Some(Self {
            centre,
            nats: Nats::or_skip(centre, name, options)?,
            dir: tempfile::tempdir().unwrap(),
        })
    }

    pub(super) fn source(&self, host: &str) -> Source {
        Source::open(&self.dir.path().join(host), 256 << 10, 1 << 30).unwrap()
    }

    pub(super) fn ship(&self, source: &Source, host: &str) -> Shipper {
        let machine = uuid::Uuid::nil();
        source.ship_by(machine, self.nats.route(host)).unwrap()
    }

    pub(super) fn ensure_has(&self, host: &str, source: &Source) {
        let truth = &source.sessions;
        let has = self.centre.ensure_has(host, truth, PATIENCE);
        has.unwrap();
    }

    /// Waits until all messages are stored and acknowledged.
    pub(super) fn ensure_empty(&self) {
        let mut left = 0;
        // A host with a refused batch waits a minute.
        let empty = eventually(2 * PATIENCE, || {
            left = self.nats.messages()?;
            Ok(left == 0)
        });
        assert!(empty.unwrap(), "{left} messages are in the stream");
    }

    /// Waits until the shipper's problem contains `words`.
    pub(super) fn ensure_said(shipper: &Shipper, words: &str) {
        let said = eventually(PATIENCE, || {
            let problem = shipper.progress().status().problem;
            Ok(problem.is_some_and(|why| why.contains(words)))
        });
        assert!(said.unwrap(), "{words}: {:?}", shipper.progress().status());
    }

    /// Waits until the shipper has published everything.
    pub(super) fn ensure_shipped(shipper: &Shipper, source: &Source) {
        let end = *source.writer.durable().borrow();
        let shipped = eventually(PATIENCE, || {
            let shipped = shipper.progress().shipped();
            Ok(shipped.is_some_and(|at| (at.segment, at.offset) == (end.segment, end.end)))
        });
        assert!(shipped.unwrap(), "{:?}", shipper.progress().status());
    }

    /// Returns the gaps of a host: cause, whether they end after they begin, and number.
    pub(super) fn gaps(&self, host: &str) -> String {
        let sql = format!(
            "select cause, bool_and(from_at <= to_at), count(*) from vctl.audit_gap g \
             join vctl.audit_host h on h.id = g.host_id where h.hostname = '{host}' group by cause"
        );
        self.centre.ask(&sql).unwrap()
    }
}

#[test]
fn an_agent_on_jetstream_has_no_postgres_connection() {
    let Some(fleet) = Fleet::of_spec("alone", &["js-alone"]) else {
        return;
    };
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source("js-alone");
    let id = source.log_in(1).unwrap();
    let shipper = fleet.ship(&source, "js-alone");
    source.work(id, 3000).unwrap();
    fleet.ensure_has("js-alone", &source);
    // Everything is stored, so a login of the host would exist by now.
    let logins = "select count(*) from pg_roles where rolname like 'ingest/js-alone.%'";
    assert_eq!(fleet.centre.ask(logins).unwrap(), "0");
    assert_eq!(shipper.progress().status().problem, None);
    fleet.ensure_empty();
}

#[test]
fn a_restarted_agent_doubles_nothing() {
    let Some(fleet) = Fleet::of_spec("restarted", &["js-restarted"]) else {
        return;
    };
    let host = "js-restarted";
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    let mut shipper = fleet.ship(&source, host);
    for round in 0..4 {
        source.work(id, 700).unwrap();
        Fleet::ensure_shipped(&shipper, &source);
        if round == 2 {
            fleet.ensure_has(host, &source);
        }
        drop(shipper);
        // As after a crash: the remembered position is old, or gone.
        let _ = std::fs::remove_file(source.dir.join("shipped.json"));
        let spool = source.dir.clone();
        let truth = std::mem::take(&mut source.sessions);
        drop(source);
        source = Source::open(&spool, 256 << 10, 1 << 30).unwrap();
        source.sessions = truth;
        shipper = fleet.ship(&source, host);
    }
    fleet.ensure_has(host, &source);
    fleet.ensure_empty();
    assert_eq!(fleet.gaps(host), "");
}

#[test]
fn a_restored_spool_loses_nothing_on_jetstream() {
    let Some(fleet) = Fleet::of_spec("copied", &["js-copied"]) else {
        return;
    };
    let host = "js-copied";
    let _ingest = fleet.nats.ingest(fleet.centre).unwrap();
    let mut source = fleet.source(host);
    let id = source.log_in(1).unwrap();
    source.work(id, 500).unwrap();
    let shipper = fleet.ship(&source, host);
    Fleet::ensure_shipped(&shipper, &source);
    drop(shipper);
    let (spool, copy) = (source.dir.clone(), fleet.dir.path().join("copy"));
    copy_dir(&spool, &copy);
    let shipper = fleet.ship(&source, host);
    source.work(id, 900).unwrap();
    fleet.ensure_has(host, &source);
    let truth = source.sessions.clone();
    drop((shipper, source));

    std::fs::remove_dir_all(&spool).unwrap();
    copy_dir(&copy, &spool);
    let mut source = fleet.source(host);
    let other = source.log_in(2).unwrap();
    for _ in 0..6 {
        source.work(other, 300).unwrap();
    }
    let _shipper = fleet.ship(&source, host);
    source.sessions.extend(truth);
    fleet.ensure_has(host, &source);
    assert_eq!(fleet.gaps(host), "");
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Time after which a message of a killed consumer is given to another, with a margin.
pub(super) const REDELIVERED: Duration = Duration::from_secs(2);
