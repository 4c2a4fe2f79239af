//! `vctl migrate`, as an administrator runs it.

mod checks;
mod spoiled;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab::{Programs, eventually};

/// Version of the last migration.
const LAST: usize = 32;

#[test]
fn a_second_migration_changes_nothing() {
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
    // The migration stores the name of the database login. Vault makes this name from the user's name.
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
fn earlier_sessions_are_attributed_once_the_ca_is_recorded() {
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
    assert!(note.contains("recorded the SSH CA SHA256:"), "{note}");
    assert_eq!(ask(entered), key.trim());
    let people = "select count(*), count(vault_user) from vctl.audit_session";
    assert_eq!(ask(people), "2|1");
    // The CA is known now, so vctl does not report it again.
    assert!(vctl(&centre, &["migrate"]).stderr.is_empty());
}

#[test]
fn a_damaged_schema_names_the_migration() {
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
    assert!(said.contains("`0003_access_log` was changed"), "{said}");
}

#[test]
fn an_older_setup_is_named_and_then_upgraded() {
    let Some(centre) = fresh() else {
        return;
    };
    // A centre of an earlier setup.sh does not have the group of revocations.
    let ask = |sql: &str| centre.postgres.psql(DATABASE, sql).unwrap();
    ask("alter role vctl_revoke rename to later");
    let output = vctl(&centre, &["migrate"]);
    assert_eq!(output.status.code(), Some(1));
    let said = complaint(&output);
    assert!(
        said.contains("`vctl_revoke` is missing") && said.contains("deploy/vault/setup.sh"),
        "{said}"
    );
    let may = "select bool_and(has_function_privilege('vctl_session_end', oid, 'execute')), count(*) \
               from pg_proc where proname in ('sessions_of_v1', 'certificates_of_v1', 'revoked_names_v1', \
                                              'begin_revocation_v1', 'finish_revocation_v1')";
    assert_eq!(ask(may), "t|5");
    ask("alter role later rename to vctl_revoke");
    self::said(&vctl(&centre, &["migrate"]));
    let may_still = may.replace("bool_and", "bool_or");
    assert_eq!(ask(&may_still), "f|5");
}

#[test]
fn concurrent_migrations_wait_and_name_the_holder() {
    let Some(centre) = fresh() else {
        return;
    };
    // A migration that started and does not end.
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
    // Two migrations at the same time: one applies the changes, and both succeed.
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
fn an_unfit_schema_names_the_program_to_upgrade() {
    let Some(centre) = fresh() else {
        return;
    };
    // Without a schema, every command except `migrate` reports the problem.
    let vault = vctl_tests::pool_fixture::as_root(&centre);
    let refusal = || {
        let pool = vctl_tests::pool_fixture::pool(&centre, &vault);
        vctl_tests::pool_fixture::block_on(async {
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
    // The second connection of a pool asks for the versions within its login.
    let later = |sql: &str| {
        let pool = vctl_tests::pool_fixture::pool(&centre, &vault);
        vctl_tests::pool_fixture::block_on(async {
            pool.get().await.unwrap().discard();
            centre.postgres.psql(DATABASE, sql).unwrap();
            let error = pool.get().await.err().unwrap();
            pool.close().await;
            error
        })
    };
    for error in [later(newer), refusal().unwrap()] {
        assert!(
            error.to_string().contains("needs a newer `vctl`"),
            "{error}"
        );
    }
    let older = "update vctl.schema_compat set reader_min = 1";
    centre.postgres.psql(DATABASE, older).unwrap();
    let error = later("drop function vctl.compat_v1");
    assert!(error.hint().unwrap().contains("vctl migrate"), "{error:?}");
}

/// Returns a centre with roles and policies, and with an empty database.
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

fn migrations() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")
}

fn name_of(number: usize) -> String {
    let entries = std::fs::read_dir(migrations()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql"));
    let names = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.swap_remove(number - 1)
}
