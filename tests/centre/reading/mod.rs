//! `vctl session` and `vctl audit` show the data of the centre: the same lines as a spool, together with the CA and the
//! requester.

mod fleet;
mod output_formats;
mod prune;
mod status;
mod story;
mod access;
mod ends;
mod filters;
mod follow;
mod listing;
mod locale;
mod mcp;
mod page;
mod phase;
mod same;
mod verify;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use vctl_agent::store::Shipper;
use vctl_common::id::{CertSerial, ProcessId, SessionId};
use vctl_common::session::{
    Auth, Certificate, CloseReason, JournalEntry, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::time::BootNs;
use vctl_tests::centre::{Centre, Client, HostIdentity, Secret};
use vctl_tests::lab::{PATIENCE, Programs, eventually};
use vctl_tests::ship::{Source, exec};

/// The hostname in these spools.
const HOST: &str = "synthetic";

/// The number of specs that started.
static SPECS: AtomicU32 = AtomicU32::new(0);

/// A host with a spool that the spec ships, and an auditor with access to it.
struct Reading {
    centre: &'static Centre,
    source: Source,
    vctl: PathBuf,
    auditor: Secret,
    identity: HostIdentity,
    dir: tempfile::TempDir,
    shipper: Option<Shipper>,
}

impl Reading {
    fn new() -> Option<Self> {
        let centre = Centre::shared()?;
        let dir = tempfile::tempdir().unwrap();
        let auditor = centre.with_policies(&["vctl-auditor"]).unwrap();
        let mut source = Source::open(&dir.path().join("spool"), 1 << 20, 1 << 30).unwrap();
        // All specs share one host in one boot. A loss that belongs to no session affects every session at that time,
        // so each spec has its own range of time. The ranges begin minutes before now, like the rows of the accesses.
        let ticks = 9_000_000 + u64::from(SPECS.fetch_add(1, Ordering::Relaxed)) * 20_000;
        for _ in 0..ticks {
            source.tick();
        }
        Some(Self {
            source,
            vctl: Programs::find().unwrap().vctl,
            auditor: auditor.token().clone(),
            identity: identity(centre).clone(),
            centre,
            dir,
            shipper: None,
        })
    }

    /// Starts the shipper. From now on, it ships new records at once.
    fn ship(&mut self) {
        let way = self.centre.way(&self.identity, self.dir.path()).unwrap();
        self.shipper = Some(self.source.ship(&way).unwrap());
    }

    /// Waits until the centre has stored this closed session with this number of events.
    fn wait_for(&self, id: SessionId, events: u64) {
        let sql = format!(
            "select stored = {events} and closed is not null from vctl.audit_session where id = '{id}'"
        );
        let stored = eventually(PATIENCE, || Ok(self.centre.ask(&sql)? == "t"));
        assert!(stored.unwrap(), "session {id} does not arrive");
    }

    fn wait_for_events(&self, id: SessionId, events: u64) {
        let sql = format!("select stored >= {events} from vctl.audit_session where id = '{id}'");
        let stored = eventually(PATIENCE, || Ok(self.centre.ask(&sql)? == "t"));
        assert!(stored.unwrap(), "session {id} does not arrive");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.vctl);
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .envs(self.centre.environment())
            .env("VAULT_TOKEN", self.auditor.expose());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed, and returns its output.
    fn shows(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the same command on the spool, and returns its output.
    fn shows_locally(&self, args: &[&str]) -> String {
        let spool = self.source.dir.to_str().unwrap();
        self.shows(&[&["session", "--local", "--spool", spool], args].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.shows(args)).unwrap()
    }

    /// Registers the CA of this spec at the centre.
    fn our_ca(&self, fingerprint: &str) {
        let sql = format!(
            "insert into vctl.ca_keys (fingerprint, public_key, mount) \
             values ('{fingerprint}', 'ssh-ed25519 AAAA', 'ssh') on conflict do nothing"
        );
        self.centre.ask(&sql).unwrap();
    }

    fn record(&mut self, entry: &JournalEntry) {
        self.source.note(entry).unwrap();
    }

    fn opening(&mut self, certificate: Option<Certificate>) -> SessionOpened {
        opened(certificate, BootNs(self.source.tick()))
    }

    /// Opens a session with or without a certificate.
    fn log_in(&mut self, certificate: Option<Certificate>) -> SessionOpened {
        let opened = self.opening(certificate);
        self.record(&JournalEntry::Opened(Box::new(opened.clone())));
        self.source.sessions.insert(opened.id, 0);
        opened
    }

    fn exec(&mut self, id: SessionId, argv: &[&[u8]]) {
        let seq = self.source.sessions[&id] + 1;
        let argv: Vec<u8> = argv
            .iter()
            .flat_map(|item| [item, b"\0".as_slice()].concat())
            .collect();
        let at = self.source.tick();
        let record = exec(id, seq, at, [b"/usr/bin/env", b"/srv", b"env", &argv]);
        self.source.event(id, &record).unwrap();
    }

    /// Ends a session. `produced` is the number of events that the kernel counted.
    fn log_out(&mut self, id: SessionId, produced: u64) {
        let at = BootNs(self.source.tick());
        self.record(&JournalEntry::Closed(SessionClosed {
            id,
            at,
            reason: CloseReason::LastProcessEnded,
            produced: Some(produced),
            stored: self.source.sessions[&id],
            leader_ended_at: None,
            requested: None,
        }));
    }
}

/// Returns the same host for all specs, because Vault cannot create roles for several hosts at once.
fn identity(centre: &Centre) -> &'static HostIdentity {
    static IDENTITY: OnceLock<HostIdentity> = OnceLock::new();
    IDENTITY.get_or_init(|| centre.enroll(HOST).unwrap())
}

fn certificate(key_id: &str, serial: u64, ca: &str) -> Certificate {
    Certificate {
        serial: CertSerial::new(serial),
        key_id: key_id.to_owned(),
        ca_fingerprint: ca.to_owned(),
        principals: vec!["deploy".to_owned()],
        valid_after: 1_700_000_000,
        valid_before: 4_000_000_000,
        blob: None,
        blob_too_large: false,
    }
}

fn opened(certificate: Option<Certificate>, at: BootNs) -> SessionOpened {
    SessionOpened {
        login_user: "deploy".to_owned(),
        service: "sshd".to_owned(),
        auth: Auth {
            method: Some("publickey".to_owned()),
            certificate,
            key_fingerprint: Some("SHA256:key".to_owned()),
            problem: None,
            unreadable_certificate: false,
        },
        source_ip: "192.0.2.7".parse().ok(),
        source_port: Some(51515),
        tty: Some("pts/3".to_owned()),
        leader: ProcessId {
            tgid: 4242,
            start: at,
        },
        login_uid: Some(1000),
        stamp: Stamp::InTime,
        ..SessionOpened::unknown(SessionId::generate(), at)
    }
}

/// Opens an access row as this user, and returns its id.
fn ask_for(centre: &Centre, person: &Client, name: &str, access: &Value) -> String {
    let credential = person.credential("vctl-audit-writer").unwrap();
    let access = access.to_string().replace('\'', "''");
    let sql = format!("select vctl.open_access_v1('userpass-{name}', '{access}'::jsonb)");
    let id = centre.postgres.psql_as(credential.login(), &sql).unwrap();
    person.revoke(&credential).unwrap();
    id
}

fn access(host: &str, serial: u64, ca: &str) -> Value {
    json!({
        "hostname": host, "login_user": "deploy", "target_addr": "192.0.2.10", "target_port": 22,
        "ca_fingerprint": ca, "cert_serial": serial.to_string(), "source_ip": "198.51.100.4",
        "source_port": 40404, "client_user": "al", "client_host": "laptop", "vctl_version": "0.1.0",
    })
}

/// Returns a fingerprint and a serial that no other spec uses.
fn unique(mark: char) -> String {
    format!("SHA256:{}", mark.to_string().repeat(43))
}
