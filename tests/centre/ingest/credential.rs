//! A host's credential does not expire silently, and the centre notices a copied credential.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use vctl_agent::centre::Centre as Where;
use vctl_agent::nats::Nats;
use vctl_agent::store::{JetStream, Route};
use vctl_common::time::wall_now;
use vctl_common::tls::Trust;
use vctl_tests::centre::{Centre, DATABASE, HostIdentity};
use vctl_tests::lab::{PATIENCE, Programs, eventually};
use vctl_tests::ship::Source;

use crate::fixture::programs::{stderr, stdout, vctl};

/// The age of a secret id at the start of its last third, when the agent replaces it. After that, a login is possible
/// for six more seconds.
const OLD: Duration = Duration::from_secs(12);
const LIVES: &str = "18s";

#[test]
fn a_secret_id_in_its_last_third_is_replaced() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("secret-rotated").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let way = about_to_expire(centre, &host, dir.path());
    let before = fs::read_to_string(&way.secret_id_file).unwrap();
    let mut source = Source::open(&dir.path().join("spool"), 1 << 20, 1 << 30).unwrap();
    let id = source.log_in(1).unwrap();
    source.work(id, 5).unwrap();
    let shipper = source.ship(&way).unwrap();
    let kept = || Ok(fs::read_to_string(&way.secret_id_file)? != before);
    assert!(
        eventually(PATIENCE, kept).unwrap(),
        "the agent did not replace the secret id"
    );
    centre
        .ensure_has(&host.name, &source.sessions, PATIENCE)
        .unwrap();

    let far = wall_now() + Duration::from_hours(29 * 24);
    let told = eventually(PATIENCE, || {
        let expires = shipper.progress().status().secret_id_expires_at;
        Ok(expires.is_some_and(|at| at.time() > far))
    });
    assert!(told.unwrap(), "{:?}", shipper.progress().status());
    let after = fs::read_to_string(&way.secret_id_file).unwrap();
    let works = |secret_id: &str| {
        let ids = json!({"role_id": host.role_id.expose(), "secret_id": secret_id.trim()});
        let anonymous = centre.bao.anonymous().unwrap();
        anonymous.post("auth/approle/login", &ids).is_ok()
    };
    assert!(works(&after), "the new secret id does not work");
    let ended = eventually(PATIENCE, || Ok(!works(&before)));
    assert!(ended.unwrap(), "the old secret id still works");
}

/// Nothing is in the spool, so no record makes the agent connect.
#[test]
fn a_quiet_host_replaces_its_secret_id() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    for name in ["secret-quiet", "secret-quiet-js"] {
        let host = centre.enroll(name).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let way = about_to_expire(centre, &host, dir.path());
        let before = fs::read_to_string(&way.secret_id_file).unwrap();
        let source = Source::open(&dir.path().join("spool"), 1 << 20, 1 << 30).unwrap();
        let route = if name.ends_with("-js") {
            Route::JetStream(Box::new(JetStream {
                // No server is needed for it.
                nats: Nats {
                    servers: vec!["tls://127.0.0.1:1".to_owned()],
                    key_file: dir.path().join("nats.key"),
                    trust: Trust::System { and: None },
                    name: name.to_owned(),
                },
                centre: Some(way.clone()),
            }))
        } else {
            Route::Postgres(Box::new(way.clone()))
        };
        let shipper = source.ship_by(Uuid::nil(), route).unwrap();
        let kept = || Ok(fs::read_to_string(&way.secret_id_file)? != before);
        assert!(
            eventually(OLD, kept).unwrap(),
            "{name}: {:?}",
            shipper.progress().status()
        );
    }
}

#[test]
fn an_irreplaceable_secret_id_is_warned_of_before_it_expires() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let policy = admin.get("sys/policies/acl/vctl-host").unwrap();
    let policy = policy["data"]["policy"].as_str().unwrap();
    let host = centre
        .enroll_as("secret-kept", "host-without-rotation")
        .unwrap();
    let path = format!("auth/approle/role/{}/secret-id", host.approle);
    let without = format!("{policy}\npath \"{path}\" {{ capabilities = [\"deny\"] }}\n");
    admin
        .post(
            "sys/policies/acl/host-without-rotation",
            &json!({"policy": without}),
        )
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let way = about_to_expire(centre, &host, dir.path());
    let before = fs::read_to_string(&way.secret_id_file).unwrap();
    let log = dir.path().join("log");
    let load = Load(
        Command::new(Programs::find().unwrap().directory.join("ship-load"))
            .arg(dir.path())
            .args([&host.name, &way.settings.vault.addr])
            .arg(centre.postgres.port.to_string())
            .arg(centre.pki.ca())
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    let read = || fs::read_to_string(&log).unwrap();
    let said = "is about to expire, and cannot be replaced from here";
    let warned = eventually(PATIENCE, || Ok(read().contains(said)));
    assert!(warned.unwrap(), "{}", read());
    drop(load);
    let log = read();
    assert_eq!(log.matches(said).count(), 1, "{log}");
    assert!(log.contains("vctl host enroll"), "{log}");
    assert!(!log.contains(before.trim()), "a secret is in the log");
    assert_eq!(fs::read_to_string(&way.secret_id_file).unwrap(), before);
}

#[test]
fn two_machines_with_one_credential_are_reported() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("twin").unwrap();
    let (here, there) = (Uuid::from_u128(0xa), Uuid::from_u128(0xb));
    let start = |machine| {
        let dir = tempfile::tempdir().unwrap();
        let way = centre.way(&host, dir.path()).unwrap();
        let mut source = Source::open(&dir.path().join("spool"), 1 << 20, 1 << 30).unwrap();
        let id = source.log_in(1).unwrap();
        let shipper = source.ship_as(machine, &way).unwrap();
        (dir, source, id, shipper)
    };
    let (_dir, mut first, session, of_first) = start(here);
    first.work(session, 5).unwrap();
    centre
        .ensure_has(&host.name, &first.sessions, PATIENCE)
        .unwrap();
    assert_eq!(of_first.progress().status().other_machine, None);

    let (_other_dir, second, _, of_second) = start(there);
    let named = |shipper: &vctl_agent::store::Shipper, machine: Uuid| {
        let told = eventually(PATIENCE, || {
            let other = shipper.progress().status().other_machine;
            Ok(other.is_some_and(|other| other.contains(&machine.to_string())))
        });
        assert!(told.unwrap(), "{:?}", shipper.progress().status());
    };
    named(&of_second, here);
    first.work(session, 5).unwrap();
    named(&of_first, there);
    // The centre notices the copy, but refuses the data of neither machine: the record of a cloned machine also has
    // value.
    let mut all = first.sessions.clone();
    all.extend(second.sessions.clone());
    centre.ensure_has(&host.name, &all, PATIENCE).unwrap();

    let reader = centre.person("twin-reader", &["vctl-user"]).unwrap();
    let output = vctl(centre, &reader, DATABASE, &["fleet", "-o", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let fleet: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let hosts = fleet["hosts"].as_array().unwrap();
    let twin = hosts
        .iter()
        .find(|host| host["hostname"] == "twin")
        .unwrap();
    let state = twin["state"].as_str().unwrap();
    assert!(state.starts_with("2 machines"), "{state}");
    let machines = twin["machines"].to_string();
    for machine in [here, there] {
        assert!(machines.contains(&machine.to_string()), "{machines}");
    }
}

/// Returns the settings of a host with a secret id in its last third. The next secret id has a long lifetime.
fn about_to_expire(centre: &Centre, host: &HostIdentity, dir: &std::path::Path) -> Where {
    let way = centre.way(host, dir).unwrap();
    let admin = centre.bao.admin().unwrap();
    let path = format!("auth/approle/role/{}", host.approle);
    let lives = |ttl: &str| {
        let ttl = json!({"secret_id_ttl": ttl});
        admin.post(&path, &ttl).unwrap();
    };
    lives(LIVES);
    let made = admin
        .post(&format!("{path}/secret-id"), &json!({}))
        .unwrap();
    lives("720h");
    let secret_id = made["data"]["secret_id"].as_str().unwrap();
    fs::write(&way.secret_id_file, secret_id).unwrap();
    thread::sleep(OLD);
    way
}

/// An agent without its probe, in a separate process with its own log.
struct Load(Child);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
