//! After a login is revoked, it is gone, whatever it did before.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::json;
use vctl_tests::centre::{Centre, Credential, DATABASE};
use vctl_tests::lab::eventually;

#[test]
fn a_login_that_owns_nothing_goes() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    for role in [
        "vctl-ro",
        "vctl-rw",
        "vctl-identity",
        "vctl-audit-ro",
        "vctl-audit-writer",
        "vctl-audit-ingest",
        "vctl-status",
        "vctl-pruner",
        "vctl-session-end",
        "vctl-revoke",
        "vctl-stream-ingest",
        "vctl-migrator",
    ] {
        let credential = admin.credential(role).unwrap();
        assert_eq!(state(centre, &credential), "t", "{role}");
        admin.revoke(&credential).unwrap();
        assert_eq!(state(centre, &credential), "", "{role}");
    }
}

#[test]
fn a_login_goes_while_it_works() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let credential = admin.credential("vctl-ro").unwrap();
    let (mut busy, backend) = at_work(centre, &credential);
    admin.revoke(&credential).unwrap();
    assert_eq!(state(centre, &credential), "");
    let sql = format!("select count(*) from pg_stat_activity where pid = {backend}");
    assert_eq!(centre.postgres.psql(DATABASE, &sql).unwrap(), "0");
    assert!(!busy.wait().unwrap().success());
}

/// Creates a large object that belongs to this login, and returns its number. The login itself has no right to do this.
fn large_object(centre: &Centre, database: &str, owner: &Credential) -> String {
    let number = centre
        .postgres
        .psql(database, "select lo_create(0)")
        .unwrap();
    let give = format!(
        "alter large object {number} owner to \"{}\"",
        owner.username
    );
    centre.postgres.psql(database, &give).unwrap();
    number
}

#[test]
fn a_login_goes_with_what_it_owns() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let credential = admin.credential("vctl-ro").unwrap();
    let number = large_object(centre, DATABASE, &credential);
    admin.revoke(&credential).unwrap();
    assert_eq!(state(centre, &credential), "");
    let sql = format!("select count(*) from pg_largeobject_metadata where oid = {number}");
    assert_eq!(centre.postgres.psql(DATABASE, &sql).unwrap(), "0");
}

#[test]
fn a_login_that_owns_something_out_of_reach_is_locked_out() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let credential = admin.credential("vctl-ro").unwrap();
    let number = large_object(centre, "postgres", &credential);
    let (mut busy, _) = at_work(centre, &credential);
    admin.revoke(&credential).unwrap();
    assert_eq!(state(centre, &credential), "f");
    assert!(!busy.wait().unwrap().success());
    let again = centre.postgres.psql_as(credential.login(), "select 1");
    let said = again.unwrap_err().to_string();
    assert!(said.contains("not permitted to log in"), "{said}");
    let clean = format!(
        "select lo_unlink({number}); drop role \"{}\"",
        credential.username
    );
    centre.postgres.psql("postgres", &clean).unwrap();
}

#[test]
fn a_login_that_is_gone_already_can_be_given_back() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let credential = admin.credential("vctl-ro").unwrap();
    let drop = format!("drop role \"{}\"", credential.username);
    centre.postgres.psql(DATABASE, &drop).unwrap();
    admin.revoke(&credential).unwrap();
    let lease = json!({"lease_id": credential.lease_id});
    let looked_up = admin.post("sys/leases/lookup", &lease);
    assert!(looked_up.is_err(), "the lease is left");
}

#[test]
fn a_migration_outlives_its_login() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let credential = admin.credential("vctl-migrator").unwrap();
    let login = credential.login();
    centre
        .postgres
        .psql_as(login, "create schema made_by_a_migration")
        .unwrap();
    admin.revoke(&credential).unwrap();
    assert_eq!(state(centre, &credential), "");
    let owner = "select nspowner::regrole from pg_namespace where nspname = 'made_by_a_migration'";
    assert_eq!(centre.postgres.psql(DATABASE, owner).unwrap(), "vctl_owner");
    centre
        .postgres
        .psql(DATABASE, "drop schema made_by_a_migration")
        .unwrap();
}

#[test]
fn a_login_of_a_host_takes_its_row_along() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let identity = centre.enroll("leaves").unwrap();
    let client = centre.as_host(&identity).unwrap();
    for purpose in ["audit-ingest", "status"] {
        let credential = client.credential(&identity.role(purpose)).unwrap();
        let host = format!(
            "select hostname from vctl.db_login where login = '{}'",
            credential.username
        );
        assert_eq!(centre.postgres.psql(DATABASE, &host).unwrap(), "leaves");
        client.revoke(&credential).unwrap();
        assert_eq!(centre.postgres.psql(DATABASE, &host).unwrap(), "");
        assert_eq!(state(centre, &credential), "");
    }
}

#[test]
fn a_token_that_ends_takes_its_logins_along() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre.person("leaver", &["vctl-user"]).unwrap();
    let credential = person.credential("vctl-ro").unwrap();
    person
        .post("auth/token/revoke-self", &serde_json::json!({}))
        .unwrap();
    let gone = || Ok(state(centre, &credential).is_empty());
    assert!(eventually(Duration::from_secs(20), gone).unwrap());
}

#[test]
fn no_password_of_a_login_is_in_the_log_of_postgres() {
    let settings = vec![("log_statement", "all".to_owned())];
    let postgres = vctl_tests::centre::PostgresOptions {
        settings,
        ..Default::default()
    };
    let options = vctl_tests::centre::Options {
        postgres,
        ..Default::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let credential = admin.credential("vctl-ro").unwrap();
    let log = centre.root().join("postgres/server.log");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains(&credential.username));
    assert!(!log.contains(credential.password.expose()));
}

/// Returns `t` if the login may log in, `f` if it may not, and an empty text if it does not exist.
fn state(centre: &Centre, credential: &Credential) -> String {
    let sql = format!(
        "select rolcanlogin from pg_roles where rolname = '{}'",
        credential.username
    );
    centre.postgres.psql(DATABASE, &sql).unwrap()
}

/// Starts a statement that takes a minute, and also returns the process id of its backend.
fn at_work(centre: &Centre, credential: &Credential) -> (Child, String) {
    let mut psql = centre
        .postgres
        .psql_command(credential.login(), "verify-full", centre.pki.ca());
    let child = psql
        .args(["-c", "select pg_sleep(60)"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let sql = format!(
        "select pid from pg_stat_activity where usename = '{}' and state = 'active'",
        credential.username
    );
    let mut backend = String::new();
    let works = || {
        backend = centre.postgres.psql(DATABASE, &sql)?;
        Ok(!backend.is_empty())
    };
    assert!(eventually(Duration::from_secs(20), works).unwrap());
    (child, backend)
}
