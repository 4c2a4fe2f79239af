//! Both servers accept only TLS, with certificates of the private authority.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use vctl_tests::centre::{Centre, Client, Options, Postgres, Request, VAULT_NAME};

#[test]
fn servers_of_a_trusted_private_ca_are_accepted() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    assert_eq!(ssl_of_own_connection(&centre.postgres).unwrap(), "t");
    for name in [VAULT_NAME, "localhost", "127.0.0.1"] {
        let client = Client::new(centre.bao.port, name, centre.pki.ca(), None).unwrap();
        let health = client.call("GET", "sys/health", None).unwrap();
        assert_eq!(health.status, 200, "{name}");
    }
}

#[test]
fn servers_of_another_ca_are_refused() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let stranger = centre.pki.stranger();
    assert_refused(&ask_bao(centre, "localhost", stranger), "UnknownIssuer");
    let asked = ask_postgres(&centre.postgres, "verify-full", stranger);
    assert_refused(&asked, "certificate verify failed");
}

#[test]
fn servers_are_refused_under_another_name() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let asked = ask_bao(centre, "db.vctl.test", centre.pki.ca());
    assert_refused(&asked, "not valid for name");
    let login = centre.postgres.superuser("postgres");
    let mut psql = centre
        .postgres
        .psql_command(login, "verify-full", centre.pki.ca());
    let output = psql
        .env("PGHOST", VAULT_NAME)
        .args(["-c", "select 1"])
        .output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.contains("does not match host name"), "{said}");
}

#[test]
fn servers_refuse_plaintext() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let asked = ask_postgres(&centre.postgres, "disable", centre.pki.ca());
    assert_refused(&asked, "no encryption");
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, centre.bao.port)).unwrap();
    socket
        .write_all(b"GET /v1/sys/health HTTP/1.0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 400"), "{answer}");
}

#[test]
fn certificates_can_be_changed_for_bad_ones() {
    let options = Options {
        bare: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let names = ["localhost", "db.vctl.test"];
    let expired = Request {
        names: &names,
        expired: true,
        ..Request::default()
    };
    let expired = centre.pki.issue("expired", expired).unwrap();
    centre.bao.use_certificate(&expired).unwrap();
    centre.postgres.use_certificate(&expired).unwrap();
    assert_soon(|| refused(&ask_bao(&centre, "localhost", centre.pki.ca()), "xpired"));
    assert_soon(|| refused(&ssl_of_own_connection(&centre.postgres), "verify failed"));
    let strange = Request {
        names: &names,
        of_a_stranger: true,
        ..Request::default()
    };
    let strange = centre.pki.issue("strange", strange).unwrap();
    centre.bao.use_certificate(&strange).unwrap();
    let asked = || ask_bao(&centre, "localhost", centre.pki.ca());
    assert_soon(|| refused(&asked(), "UnknownIssuer"));
}

fn ask_bao(centre: &Centre, name: &str, ca: &Path) -> anyhow::Result<String> {
    let client = Client::new(centre.bao.port, name, ca, None)?;
    let reply = client.call("GET", "sys/health", None)?;
    Ok(reply.status.to_string())
}

fn ask_postgres(postgres: &Postgres, sslmode: &str, ca: &Path) -> anyhow::Result<String> {
    let login = postgres.superuser("postgres");
    let output = postgres
        .psql_command(login, sslmode, ca)
        .args(["-c", "select 1"])
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn ssl_of_own_connection(postgres: &Postgres) -> anyhow::Result<String> {
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    postgres.psql("postgres", sql)
}

fn refused(asked: &anyhow::Result<String>, why: &str) -> bool {
    asked
        .as_ref()
        .is_err_and(|error| format!("{error:#}").contains(why))
}

fn assert_refused(asked: &anyhow::Result<String>, why: &str) {
    assert!(refused(asked, why), "not refused for `{why}`: {asked:?}");
}

/// Waits for the condition, because a server uses a new certificate only after a moment.
fn assert_soon(holds: impl Fn() -> bool) {
    let within = std::time::Duration::from_secs(10);
    assert!(vctl_tests::lab::eventually(within, || Ok(holds())).unwrap());
}
