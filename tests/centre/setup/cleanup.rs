//! A centre is stopped, killed and started several times, and leaves nothing behind.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde_json::json;
use vctl_tests::centre::{Centre, Options};

#[test]
fn a_centre_that_ended_left_nothing() {
    let options = Options {
        bare: true,
        host: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let id = centre.id().to_owned();
    let ports = [centre.bao.port, centre.postgres.port];
    assert_ne!(left_of(&id), Vec::<String>::new());
    let failures = centre.end();
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(left_of(&id), Vec::<String>::new());
    for port in ports {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}

#[test]
fn a_killed_postgres_keeps_what_was_committed() {
    let Some(centre) = bare() else {
        return;
    };
    let postgres = &centre.postgres;
    postgres.create_database("kept").unwrap();
    postgres
        .psql("kept", "create table t as select 7 as n")
        .unwrap();
    postgres.kill().unwrap();
    assert!(postgres.psql("kept", "select n from t").is_err());
    postgres.start().unwrap();
    assert_eq!(postgres.psql("kept", "select n from t").unwrap(), "7");
    postgres.stop().unwrap();
    postgres.start().unwrap();
    assert_eq!(postgres.psql("kept", "select n from t").unwrap(), "7");
}

#[test]
fn a_secrets_server_that_was_killed_or_sealed_serves_again() {
    let Some(centre) = bare() else {
        return;
    };
    let bao = &centre.bao;
    let admin = bao.admin().unwrap();
    admin
        .post(
            "sys/policies/acl/mine",
            &json!({"policy": "path \"a\" { capabilities = [\"read\"] }"}),
        )
        .unwrap();
    bao.kill().unwrap();
    assert!(admin.get("sys/policies/acl/mine").is_err());
    bao.start().unwrap();
    admin.get("sys/policies/acl/mine").unwrap();
    bao.seal().unwrap();
    let sealed = admin.call("GET", "sys/policies/acl/mine", None).unwrap();
    assert_eq!(sealed.status, 503);
    bao.unseal().unwrap();
    admin.get("sys/policies/acl/mine").unwrap();
}

#[test]
fn each_request_is_in_the_audit_file() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    admin.get("sys/policies/acl/seen-in-the-audit-file").ok();
    let audit = fs::read_to_string(centre.bao.audit_log()).unwrap();
    assert!(audit.contains("seen-in-the-audit-file"));
}

fn bare() -> Option<Centre> {
    Centre::or_skip(&Options {
        bare: true,
        ..Options::default()
    })
}

/// Returns everything on this machine that belongs to a centre with this id.
pub(crate) fn left_of(id: &str) -> Vec<String> {
    let places = [
        "/run",
        "/etc/pam.d",
        "/etc/sudoers.d",
        "/var/lib/vctl-lab",
        "/dev/shm",
    ];
    let entries = places.iter().flat_map(fs::read_dir).flatten();
    let names = entries.map(|entry| entry.unwrap().path().display().to_string());
    let mut left: Vec<_> = names.filter(|name| name.contains(id)).collect();
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let accounts = accounts.lines().filter(|line| line.starts_with(id));
    left.extend(accounts.map(str::to_owned));
    left.extend(processes_of(id));
    left
}

/// Returns the processes with this id in their command line or working directory.
fn processes_of(id: &str) -> Vec<String> {
    let root = Path::new("/run").join(id);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let process = entry.unwrap().path();
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let cwd = fs::read_link(process.join("cwd")).unwrap_or_default();
        if line.contains(id) || cwd.starts_with(&root) {
            found.push(format!("{}: {line}", process.display()));
        }
    }
    found
}
