//! `vctl migrate`, as an administrator runs it.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab::{Programs, eventually};

const LAST: usize = 11;

#[test]
fn a_fresh_database_gets_the_schema_and_a_second_run_changes_nothing() {
    let Some(centre) = fresh() else {
        return;
    };
    let status = json(&vctl(&centre, &["migrate", "--status", "-o", "json"]));
    assert_eq!(
        (&status["version"], &status["up_to_date"]),
        (&0.into(), &false.into())
    );
    let first = said(&vctl(&centre, &["migrate"]));
    assert_eq!(
        first,
        format!("schema version {LAST}: {LAST} migrations applied, all checked\n")
    );
    let second = said(&vctl(&centre, &["migrate"]));
    assert_eq!(
        second,
        format!("schema version {LAST}: nothing to apply, all checked\n")
    );
    let status = json(&vctl(&centre, &["migrate", "--status", "-o", "json"]));
    assert_eq!(
        (&status["version"], &status["up_to_date"]),
        (&LAST.into(), &true.into())
    );
    // By whom is the login's name, which Vault made of the person's.
    let by = status["migrations"][0]["applied_by"].as_str().unwrap();
    assert!(by.starts_with("migrator/root~"), "{by}");
    let owners = "select distinct tableowner from pg_tables where schemaname = 'vctl'";
    assert_eq!(
        centre.postgres.psql(DATABASE, owners).unwrap(),
        "vctl_owner"
    );
    let table = said(&vctl(&centre, &["migrate", "--status"]));
    assert_eq!(table.lines().count(), LAST + 1, "{table}");
    let left = "select count(*) from pg_roles where rolname ~ '^(migrator|ro)/'";
    let gone = || Ok(centre.postgres.psql(DATABASE, left)? == "0");
    assert!(eventually(Duration::from_secs(10), gone).unwrap());
}

#[test]
fn the_ssh_authority_is_entered_and_sessions_that_were_there_before_get_their_person() {
    let Some(centre) = migrated() else {
        return;
    };
    let ask = |sql: &str| centre.postgres.psql(DATABASE, sql).unwrap();
    let key = centre.ssh_authority().unwrap();
    let entered = "select public_key from vctl.ca_keys";
    assert_eq!(ask(entered), key.trim());
    ask("insert into vctl.audit_host (hostname) values ('early');
         insert into vctl.audit_session (id, host_id, boot_id, opened_at, ca_fingerprint, key_id)
         select gen_random_uuid(), h.id, gen_random_uuid(), now(), k.fingerprint, 'oidc-albert'
         from vctl.audit_host h, vctl.ca_keys k;
         insert into vctl.audit_session (id, host_id, boot_id, opened_at, ca_fingerprint, key_id)
         select gen_random_uuid(), h.id, gen_random_uuid(), now(), 'SHA256:of somebody else', 'oidc-albert'
         from vctl.audit_host h;
         delete from vctl.ca_keys");
    let output = vctl(&centre, &["migrate"]);
    let note = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(note.contains("entered the SSH CA SHA256:"), "{note}");
    assert_eq!(ask(entered), key.trim());
    let people = "select count(*), count(vault_user) from vctl.audit_session";
    assert_eq!(ask(people), "2|1");
    // Known from now on, and nobody is told again.
    assert!(vctl(&centre, &["migrate"]).stderr.is_empty());
}

/// The migration whose check has to raise, and what was done to the schema.
const SPOILED: &[(&str, &str)] = &[
    ("0001_inventory", "drop table vctl.rbac_grants"),
    (
        "0001_inventory",
        "alter domain vctl.host_name drop constraint host_name_check",
    ),
    (
        "0001_inventory",
        "alter table vctl.servers drop constraint servers_jump_via_fkey",
    ),
    (
        "0001_inventory",
        "revoke select on vctl.servers from vctl_ro",
    ),
    (
        "0001_inventory",
        "grant insert on vctl.seen_users to vctl_identity",
    ),
    (
        "0001_inventory",
        "revoke usage on schema vctl from vctl_vault",
    ),
    ("0002_identity", "drop function vctl.seen_v1"),
    (
        "0002_identity",
        "alter function vctl.login_host() security invoker",
    ),
    (
        "0002_identity",
        "grant execute on function vctl.login_person to public",
    ),
    (
        "0002_identity",
        "grant insert on vctl.db_login to vctl_status",
    ),
    (
        "0002_identity",
        "revoke delete on vctl.db_login from vctl_vault",
    ),
    ("0003_access_log", "drop function vctl.close_access_v1"),
    (
        "0003_access_log",
        "alter function vctl.open_access_v1 reset search_path",
    ),
    (
        "0003_access_log",
        "grant insert on vctl.access_log to vctl_audit_writer",
    ),
    (
        "0003_access_log",
        "grant select on vctl.access_log to vctl_audit_writer",
    ),
    (
        "0003_access_log",
        "drop index vctl.access_log_opened_at_idx",
    ),
    ("0004_sessions", "drop table vctl.audit_gap"),
    (
        "0004_sessions",
        "drop index vctl.kernel_event_session_id_seq_day_idx",
    ),
    (
        "0004_sessions",
        "grant delete on vctl.kernel_event to vctl_pruner",
    ),
    (
        "0004_sessions",
        "revoke select on vctl.kernel_event from vctl_audit_ro",
    ),
    ("0005_ingest", "drop function vctl.status_v1"),
    (
        "0005_ingest",
        "grant execute on function vctl.cursor_v1 to public",
    ),
    (
        "0005_ingest",
        "grant select on vctl.servers to vctl_audit_ingest",
    ),
    ("0006_retention", "drop function vctl.prune_v1"),
    (
        "0006_retention",
        "grant delete on vctl.access_log to vctl_pruner",
    ),
    ("0007_compat", "drop function vctl.compat_v1"),
    ("0007_compat", "delete from vctl.schema_compat"),
    (
        "0008_enrolled",
        "alter table vctl.servers drop column enrolled_at",
    ),
    (
        "0008_enrolled",
        "revoke update on vctl.servers from vctl_rw",
    ),
    (
        "0009_ingest_lookups",
        "alter function vctl.ingest_v1 reset enable_seqscan",
    ),
    (
        "0009_ingest_lookups",
        "alter table vctl.audit_session reset (fillfactor)",
    ),
    (
        "0010_attempts",
        "drop index vctl.access_log_vault_user_attempt_id_idx",
    ),
    (
        "0010_attempts",
        "revoke select on vctl.servers from vctl_audit_writer",
    ),
    ("0011_ssh_trust", "drop table vctl.host_trust"),
    (
        "0011_ssh_trust",
        "revoke select on vctl.ca_keys from vctl_audit_writer",
    ),
    (
        "0011_ssh_trust",
        "alter table vctl.ca_keys drop constraint ca_keys_state_check",
    ),
    (
        "0011_ssh_trust",
        "alter table vctl.host_certificate drop constraint host_certificate_hostname_fkey",
    ),
    (
        "0011_ssh_trust",
        "revoke delete on vctl.host_trust from vctl_rw",
    ),
];

#[test]
fn a_check_raises_when_what_its_migration_made_is_gone() {
    let Some(centre) = migrated() else {
        return;
    };
    for (name, change) in SPOILED {
        let said = checked_after(&centre, name, change);
        // A check of an earlier migration may see it too: this one is asked by itself.
        assert!(said.contains(&format!("{name}: ")), "{change}: {said}");
    }
    for number in 1..=LAST {
        let name = name_of(number);
        assert_eq!(checked_after(&centre, &name, "select 1"), "", "{name}");
    }
}

#[test]
fn a_schema_that_lost_something_is_an_error_with_the_name_of_its_migration() {
    let Some(centre) = migrated() else {
        return;
    };
    let drop = "drop function vctl.prune_v1";
    centre.postgres.psql(DATABASE, drop).unwrap();
    let output = vctl(&centre, &["migrate"]);
    assert_eq!(output.status.code(), Some(1));
    let said = complaint(&output);
    assert!(
        said.contains("`0006_retention`") && said.contains("prune_v1"),
        "{said}"
    );
}

#[test]
fn an_edited_file_and_a_newer_schema_are_refused_by_name() {
    let Some(centre) = migrated() else {
        return;
    };
    let newer = "insert into vctl.schema_migration (version, name, sha256) \
                 values (9999, '9999_later', repeat('0', 64))";
    centre.postgres.psql(DATABASE, newer).unwrap();
    let output = vctl(&centre, &["migrate"]);
    assert_eq!(output.status.code(), Some(78));
    let said = complaint(&output);
    assert!(
        said.contains("newer than this vctl") && said.contains("9999_later"),
        "{said}"
    );
    let table = self::said(&vctl(&centre, &["migrate", "--status"]));
    assert!(
        table.contains("the schema is newer than this vctl"),
        "{table}"
    );
    let edited = "delete from vctl.schema_migration where version = 9999; \
                  update vctl.schema_migration set sha256 = repeat('0', 64) where version = 3";
    centre.postgres.psql(DATABASE, edited).unwrap();
    let output = vctl(&centre, &["migrate"]);
    assert_eq!(output.status.code(), Some(78));
    let said = complaint(&output);
    assert!(said.contains("`0003_access_log` was edited"), "{said}");
}

#[test]
fn two_at_once_wait_for_each_other_and_are_told_for_whom() {
    let Some(centre) = fresh() else {
        return;
    };
    // Somebody who has begun and does not come to an end.
    let credential = centre
        .bao
        .admin()
        .unwrap()
        .credential("vctl-migrator")
        .unwrap();
    let psql = centre
        .postgres
        .psql_command(credential.login(), "verify-full", centre.pki.ca())
        .args([
            "-c",
            "select pg_advisory_lock(1986229356, 1); select pg_sleep(600)",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut psql = psql.unwrap();
    let locked = "select count(*) from pg_locks where locktype = 'advisory' and granted and classid = 1986229356";
    let begun = || Ok(centre.postgres.psql(DATABASE, locked)? == "1");
    assert!(eventually(Duration::from_secs(10), begun).unwrap());
    let output = vctl(&centre, &["migrate", "--wait", "1"]);
    assert_eq!(output.status.code(), Some(75));
    let said = complaint(&output);
    assert!(said.contains(&credential.username), "{said}");
    psql.kill().unwrap();
    psql.wait().unwrap();
    let end =
        "select pg_terminate_backend(pid) from pg_stat_activity where usename like 'migrator/%'";
    centre.postgres.psql(DATABASE, end).unwrap();
    // Two that do come to an end: one applies, and both are content.
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| vctl(&centre, &["migrate"]));
        (vctl(&centre, &["migrate"]), one.join().unwrap())
    });
    let mut said = [self::said(&one), self::said(&other)];
    said.sort();
    assert!(
        said[0].contains(&format!("{LAST} migrations applied"))
            && said[1].contains("nothing to apply"),
        "{said:?}"
    );
}

#[test]
fn a_schema_that_does_not_fit_says_which_side_has_to_move() {
    let Some(centre) = fresh() else {
        return;
    };
    // No schema at all: found by every command that is not `migrate`.
    let vault = crate::reach::as_root(&centre);
    let refusal = || {
        let pool = crate::reach::pool(&centre, &vault);
        crate::reach::block_on(async {
            let error = pool.get().await.err();
            pool.close().await;
            error
        })
    };
    let error = refusal().unwrap();
    assert!(error.hint().unwrap().contains("vctl migrate"), "{error:?}");
    said(&vctl(&centre, &["migrate"]));
    assert!(refusal().is_none());
    let newer = "update vctl.schema_compat set reader_min = 2";
    centre.postgres.psql(DATABASE, newer).unwrap();
    let error = refusal().unwrap();
    assert!(
        error.to_string().contains("needs a newer `vctl`"),
        "{error}"
    );
}

/// A centre with roles and policies, and a database with nothing in it.
fn fresh() -> Option<Centre> {
    let centre = Centre::or_skip(&Options::default())?;
    centre
        .postgres
        .psql(DATABASE, "drop schema vctl cascade")
        .unwrap();
    Some(centre)
}

fn migrated() -> Option<Centre> {
    Centre::or_skip(&Options::default())
}

fn vctl(centre: &Centre, arguments: &[&str]) -> Output {
    let mut command = Command::new(Programs::find().unwrap().vctl);
    command
        .args(arguments)
        .env_clear()
        .envs(centre.environment())
        .env("VAULT_TOKEN", centre.bao.root_token().expose())
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", complaint(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&said(output)).unwrap()
}

/// Runs the check of a migration after `change`, takes that back, and returns what the check said.
fn checked_after(centre: &Centre, name: &str, change: &str) -> String {
    let login = centre.postgres.superuser(DATABASE);
    let mut psql = centre
        .postgres
        .psql_command(login, "verify-full", centre.pki.ca());
    psql.args(["-c", "begin", "-c", change, "-f"])
        .arg(migrations().join(format!("checks/{name}.sql")))
        .args(["-c", "rollback"]);
    let output = psql.output().unwrap();
    complaint(&output)
}

fn migrations() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

fn name_of(number: usize) -> String {
    let entries = std::fs::read_dir(migrations()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let start = format!("{number:04}_");
    let name = names
        .into_iter()
        .find(|name| name.starts_with(&start))
        .unwrap();
    name.trim_end_matches(".sql").to_owned()
}
