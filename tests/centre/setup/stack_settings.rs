//! The setup of the servers: the schema, the SSH authority, and the requested settings.

use std::fs;
use std::process::Command;

use serde_json::json;
use vctl_tests::centre::{Centre, Options, PostgresOptions};

#[test]
fn a_database_of_ones_own_has_the_schema() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    for name in ["schema_one", "schema_two"] {
        centre.create_database_with_schema(name).unwrap();
        let sql =
            "select tableowner from pg_tables where schemaname = 'vctl' and tablename = 'servers'";
        assert_eq!(centre.postgres.psql(name, sql).unwrap(), "vctl_owner");
    }
    let insert = "insert into vctl.servers (hostname, ip) values ('web-1', '10.0.0.1')";
    centre.postgres.psql("schema_one", insert).unwrap();
    let count = "select count(*) from vctl.servers";
    assert_eq!(centre.postgres.psql("schema_two", count).unwrap(), "0");
}

#[test]
fn postgres_is_as_it_was_asked_for() {
    let postgres = PostgresOptions {
        fsync: true,
        max_connections: 17,
        settings: vec![("log_line_prefix", "it's %m".to_owned())],
    };
    let options = Options {
        postgres,
        bare: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    for (setting, value) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("max_connections", "17"),
        ("log_line_prefix", "it's %m"),
    ] {
        let shown = centre
            .postgres
            .psql("vctl", &format!("show {setting}"))
            .unwrap();
        assert_eq!(shown, value, "{setting}");
    }
}

#[test]
fn sshd_accepts_only_certificates_of_the_vault() {
    let options = Options {
        bare: true,
        host: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let role = json!({
        "key_type": "ca",
        "allow_user_certificates": true,
        "allowed_users": "*",
        "default_extensions": {"permit-pty": ""},
    });
    admin.post("ssh/roles/spec", &role).unwrap();
    let (refused, said) = log_in(&centre);
    assert!(!refused, "let in without a certificate: {said}");
    let public = fs::read_to_string(centre.root().join("key.pub")).unwrap();
    let host = centre.host.as_ref().unwrap();
    let request = json!({"public_key": public, "valid_principals": host.user()});
    let signed = admin.post("ssh/sign/spec", &request).unwrap();
    let certificate = signed["data"]["signed_key"].as_str().unwrap();
    fs::write(centre.root().join("key-cert.pub"), certificate).unwrap();
    let (let_in, said) = log_in(&centre);
    assert!(let_in, "{said}\n{}", host.log());
    assert_eq!(said.trim(), host.user());
}

/// Logs in with the key `key` and its certificate, and returns whether the login worked.
fn log_in(centre: &Centre) -> (bool, String) {
    let key = centre.root().join("key");
    if !key.exists() {
        let mut keygen = Command::new("ssh-keygen");
        keygen
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key);
        assert!(keygen.status().unwrap().success());
    }
    let host = centre.host.as_ref().unwrap();
    let output = Command::new("ssh")
        .args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
        ])
        .args(["-o", "IdentityAgent=none", "-p", &host.port().to_string()])
        .arg("-o")
        .arg(format!(
            "UserKnownHostsFile={}",
            host.known_hosts().display()
        ))
        .arg("-i")
        .arg(&key)
        .arg(format!("{}@127.0.0.1", host.user()))
        .arg("id -un")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}
