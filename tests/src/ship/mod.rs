//! A spool without a probe that the agent's own code ships, and the truth about its contents.

pub mod faults;
mod programs;
mod proxy;
mod random;
mod records;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use uuid::Uuid;
use vctl_agent::centre::Centre as Where;
use vctl_agent::machine_id;
use vctl_agent::spool::{BatchBuilder, SpoolConfig, SpoolError, SpoolWriter};
use vctl_agent::store::{Route, ShipConfig, Shipper};
use vctl_common::centre::{DbSettings, Settings, VaultSettings};
use vctl_common::id::{BootId, CertSerial, ProcessId, SessionId};
use vctl_common::session::{
    Auth, Certificate, CloseReason, JournalEntry, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::time::{BootNs, WallOffset, wall_now};
use vctl_common::tls::Trust;

pub use proxy::Proxy;
pub use random::Random;
use records::record;
pub use records::{exec, exit};

use crate::centre::{Centre, DATABASE, HostIdentity};
use crate::lab::{PATIENCE, eventually};

/// A host that writes sessions into a spool and remembers them.
pub struct Source {
    pub dir: PathBuf,
    pub writer: SpoolWriter,
    batch: BatchBuilder,
    wall: WallOffset,
    now: u64,
    /// Events by session: the truth.
    pub sessions: BTreeMap<SessionId, u64>,
}

/// One boot id for all hosts, because only specs about boots may depend on it.
pub const BOOT: &str = "11111111-2222-4333-8444-555555555555";

impl Source {
    /// Opens the spool in `dir`. It may be new or from another process.
    pub fn open(dir: &Path, segment_bytes: u64, cap_bytes: u64) -> Result<Self> {
        let config = SpoolConfig {
            dir: dir.to_owned(),
            cap_bytes,
            segment_bytes,
            host: "synthetic".to_owned(),
            boot_id: BOOT.parse::<BootId>()?,
        };
        // A process that another spec starts at this moment has a copy of each lock until its exec.
        let mut opened = SpoolWriter::open(&config);
        eventually(PATIENCE, || {
            if matches!(opened, Err(SpoolError::InUse { .. })) {
                opened = SpoolWriter::open(&config);
            }
            Ok(!matches!(opened, Err(SpoolError::InUse { .. })))
        })?;
        let (writer, _) = opened?;
        let wall = WallOffset::between(BootNs(100_000 * SECOND), wall_now());
        Ok(Self {
            dir: dir.to_owned(),
            writer,
            batch: BatchBuilder::new(),
            wall,
            now: 99_000 * SECOND,
            sessions: BTreeMap::new(),
        })
    }

    /// Opens a session. It is durable when this function returns.
    pub fn log_in(&mut self, serial: u64) -> Result<SessionId> {
        let id = SessionId::generate();
        self.now += SECOND / 100;
        let opened = opened(serial, id, BootNs(self.now));
        self.batch
            .push_journal(&JournalEntry::Opened(Box::new(opened)))?;
        self.commit()?;
        self.sessions.insert(id, 0);
        Ok(id)
    }

    /// Writes `count` events of a session as one durable batch.
    pub fn work(&mut self, id: SessionId, count: u64) -> Result<()> {
        let done = self.sessions.get(&id).copied().unwrap_or(0);
        for seq in done + 1..=done + count {
            self.now += SECOND / 10_000;
            let record = record(id, seq, self.now);
            self.batch.push_event(id.mark(), None, &record)?;
        }
        self.commit()?;
        self.sessions.insert(id, done + count);
        Ok(())
    }

    /// Ends a session.
    pub fn log_out(&mut self, id: SessionId) -> Result<()> {
        let events = self.sessions.get(&id).copied().unwrap_or(0);
        self.now += SECOND / 100;
        self.batch
            .push_journal(&JournalEntry::Closed(SessionClosed {
                id,
                at: BootNs(self.now),
                reason: CloseReason::LastProcessEnded,
                produced: Some(events),
                stored: events,
                leader_ended_at: None,
                requested: None,
            }))?;
        self.commit()
    }

    /// Adds an entry to the journal.
    pub fn note(&mut self, entry: &JournalEntry) -> Result<()> {
        self.batch.push_journal(entry)?;
        self.commit()
    }

    /// Writes one record as it is.
    pub fn event(&mut self, id: SessionId, record: &[u8]) -> Result<()> {
        self.events(id, &[record.to_vec()])
    }

    /// Writes records as they are, as one durable batch.
    pub fn events(&mut self, id: SessionId, records: &[Vec<u8>]) -> Result<()> {
        for record in records {
            self.batch.push_event(id.mark(), None, record)?;
            *self.sessions.entry(id).or_default() += 1;
        }
        self.commit()
    }

    /// Sets the wall clock of the host back.
    pub fn set_back(&mut self, by: Duration) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.wall = WallOffset::from_ns(self.wall.as_ns().saturating_sub(by));
    }

    /// Returns the clock of the next event.
    pub fn tick(&mut self) -> u64 {
        self.now += SECOND / 10_000;
        self.now
    }

    fn commit(&mut self) -> Result<()> {
        let wall = self.wall;
        Ok(self.writer.commit_durable(&mut self.batch, None, wall)?)
    }

    /// Starts to ship the spool.
    pub fn ship(&self, way: &Where) -> Result<Shipper> {
        let machine = machine_id::read(Path::new("/")).unwrap_or_default();
        self.ship_as(machine, way)
    }

    /// Does the same as `ship`, from a machine with this id.
    pub fn ship_as(&self, machine: Uuid, way: &Where) -> Result<Shipper> {
        self.ship_by(machine, Route::Postgres(Box::new(way.clone())))
    }

    /// Starts to ship the spool by a route, from a machine with this id.
    pub fn ship_by(&self, machine: Uuid, route: Route) -> Result<Shipper> {
        let config = ShipConfig {
            spool_dir: self.dir.clone(),
            spool_id: self.writer.id(),
            boot_id: BOOT.parse()?,
            machine,
            shipped: self.writer.shipped(),
            events_shipped: 0,
            secret_id_after: Duration::ZERO,
            route,
        };
        Ok(Shipper::start(config, self.writer.durable(), None)?)
    }
}

impl Centre {
    /// Returns the settings for this centre for a host. Writes its role id and secret id into `dir`.
    pub fn way(&self, host: &HostIdentity, dir: &Path) -> Result<Where> {
        self.way_through(host, dir, self.postgres.port)
    }

    /// Does the same as `way`, with Postgres behind another port of this machine.
    pub fn way_through(&self, host: &HostIdentity, dir: &Path, port: u16) -> Result<Where> {
        let (role_id_file, secret_id_file) = (dir.join("role_id"), dir.join("secret_id"));
        fs::write(&role_id_file, host.role_id.expose())?;
        fs::write(&secret_id_file, host.secret_id.expose())?;
        let trust = Trust::File(self.pki.ca().to_owned());
        Ok(Where {
            settings: Settings {
                vault: VaultSettings {
                    trust: trust.clone(),
                    ..VaultSettings::new(self.bao.address())
                },
                db: DbSettings {
                    port,
                    server_name: Some(crate::centre::DB_NAME.to_owned()),
                    trust,
                    ..DbSettings::new("127.0.0.1")
                },
            },
            host: host.name.parse()?,
            approle_mount: "approle".to_owned(),
            role_id_file,
            secret_id_file,
        })
    }

    /// Returns the configuration keys of an agent that ships to this centre as `host`.
    pub fn agent_keys(
        &self,
        host: &HostIdentity,
        dir: &Path,
    ) -> Result<Vec<(&'static str, String)>> {
        let way = self.way(host, dir)?;
        let ca = self.pki.ca().display().to_string();
        Ok(vec![
            ("host", host.name.clone()),
            ("vault_addr", self.bao.address()),
            ("vault_ca_cert", ca.clone()),
            ("role_id_file", way.role_id_file.display().to_string()),
            ("secret_id_file", way.secret_id_file.display().to_string()),
            ("db_host", "127.0.0.1".to_owned()),
            ("db_port", self.postgres.port.to_string()),
            ("db_server_name", crate::centre::DB_NAME.to_owned()),
            ("db_ca_cert", ca),
        ])
    }

    /// Waits until the centre has every event of the truth, and then compares. An event must not be missing, stored twice
    /// or unknown, and the counters must be the same.
    pub fn ensure_has(
        &self,
        host: &str,
        truth: &BTreeMap<SessionId, u64>,
        within: Duration,
    ) -> Result<()> {
        let total: u64 = truth.values().sum();
        let mut last = String::new();
        let came = eventually(within, || {
            // There is no answer while the server is stopped.
            last = self
                .stored_of(host)
                .unwrap_or_else(|error| error.to_string());
            Ok(last == total.to_string())
        })?;
        ensure!(came, "`{host}` has {last} events stored instead of {total}");
        let rows = self.postgres.psql(
            DATABASE,
            &format!(
                "select s.id, s.stored, count(e.seq), count(distinct e.seq), coalesce(max(e.seq), 0) \
                 from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id \
                 left join vctl.kernel_event e on e.session_id = s.id \
                 where h.hostname = '{host}' group by s.id, s.stored order by s.id"
            ),
        )?;
        let expected: Vec<_> = truth
            .iter()
            .map(|(id, n)| format!("{id}|{n}|{n}|{n}|{n}"))
            .collect();
        ensure!(
            rows.lines().collect::<Vec<_>>() == expected,
            "sessions of `{host}` (id, counted, rows, numbers, last):\n{rows}\ninstead of\n{}",
            expected.join("\n")
        );
        Ok(())
    }

    fn stored_of(&self, host: &str) -> Result<String> {
        self.postgres.psql(
            DATABASE,
            &format!(
                "select count(*) from vctl.kernel_event e join vctl.audit_host h on h.id = e.host_id \
                 where h.hostname = '{host}'"
            ),
        )
    }

    /// Returns one value about the rows of a host.
    pub fn ask(&self, sql: &str) -> Result<String> {
        self.postgres.psql(DATABASE, sql).context(sql.to_owned())
    }
}

const SECOND: u64 = 1_000_000_000;

fn opened(serial: u64, id: SessionId, at: BootNs) -> SessionOpened {
    SessionOpened {
        login_user: "deploy".to_owned(),
        service: "sshd".to_owned(),
        auth: Auth {
            method: Some("publickey".to_owned()),
            certificate: Some(Certificate {
                serial: CertSerial::new(serial),
                key_id: format!("oidc-person-{serial}"),
                ca_fingerprint: "SHA256:uNiVztksCsDhcc0u9e8BrvnIX0uTtLFAZcKKPIXTR7E".to_owned(),
                principals: vec!["deploy".to_owned()],
                valid_after: 1_700_000_000,
                valid_before: 1_700_003_600,
                blob: None,
                blob_too_large: false,
            }),
            key_fingerprint: None,
            problem: None,
            unreadable_certificate: false,
        },
        leader: ProcessId {
            tgid: 4242,
            start: at,
        },
        login_uid: Some(1000),
        stamp: Stamp::InTime,
        ..SessionOpened::unknown(id, at)
    }
}
