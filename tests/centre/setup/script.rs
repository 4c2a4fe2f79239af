//! `deploy/vault/setup.sh`, as an administrator runs it.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock};

use serde_json::Value;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab::{installed, skip};

/// Returns the centre of these specs. One spec after the other breaks it.
fn alone() -> Option<MutexGuard<'static, Centre>> {
    static CENTRE: OnceLock<Option<Mutex<Centre>>> = OnceLock::new();
    let centre = CENTRE.get_or_init(|| Centre::or_skip(&Options::default()).map(Mutex::new));
    let centre = centre.as_ref()?;
    Some(
        centre
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    )
}

#[test]
fn a_second_run_changes_nothing() {
    let Some(centre) = alone() else { return };
    let host = centre.enroll("stays").unwrap();
    let before = configuration(&centre);
    assert!(before.contains("vctl-admins"), "{before}");
    // Also what the CLI writes is what is there.
    said(centre.setup_by_cli());
    let after = configuration(&centre);
    for (before, after) in before.lines().zip(after.lines()) {
        assert_eq!(before, after);
    }
    assert_eq!(before.lines().count(), after.lines().count());
    // Credentials from before still work.
    let client = centre.as_host(&host).unwrap();
    client.credential(&host.role("status")).unwrap();
}

#[test]
fn setup_prints_its_steps_and_no_secret() {
    let Some(centre) = alone() else { return };
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("arguments");
    // The script finds these programs on PATH if no setting names the CLI.
    wrap(directory.path(), "bao", &centre.bao.binary.path, &log);
    wrap(
        directory.path(),
        "psql",
        &centre.postgres.programs.psql,
        &log,
    );
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    let mut setup = centre.setup_by_cli();
    setup.env_remove("VAULT_CLI").env("PATH", path);
    let said = said(setup);
    for line in [
        "postgres: database vctl",
        "vault: policy vctl-user is there",
        "next: vctl migrate",
    ] {
        assert!(said.lines().any(|said| said == line), "{said}");
    }
    let arguments = std::fs::read_to_string(log).unwrap();
    assert!(
        arguments.contains("write auth/approle/role/vctl-user -"),
        "{arguments}"
    );
    for text in [&said, &arguments] {
        for secret in [centre.postgres.password(), centre.bao.root_token()] {
            assert!(!text.contains(secret.expose()));
        }
        let words = text.split(|c: char| !c.is_ascii_hexdigit());
        assert_eq!(words.filter(|word| word.len() >= 32).count(), 0, "{text}");
    }
}

#[test]
fn a_connection_that_no_longer_logs_in_is_mended() {
    let Some(centre) = alone() else { return };
    let lose = "alter role vctl_vault password 'lost'; \
                select pg_terminate_backend(pid) from pg_stat_activity where usename = 'vctl_vault'";
    centre.postgres.psql(DATABASE, lose).unwrap();
    let admin = centre.bao.admin().unwrap();
    assert!(admin.credential("vctl-ro").is_err());
    let said = said(centre.setup());
    assert!(
        said.contains("with a new password for vctl_vault"),
        "{said}"
    );
    let credential = admin.credential("vctl-ro").unwrap();
    admin.revoke(&credential).unwrap();
}

#[test]
fn setup_names_missing_and_wrong_settings() {
    let Some(centre) = alone() else { return };
    let failed = |setup: &mut Command| {
        let output = setup.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let without_psql = tempfile::tempdir().unwrap();
    for program in ["bash", "env", "dirname", "realpath"] {
        symlink(
            Path::new("/usr/bin").join(program),
            without_psql.path().join(program),
        )
        .unwrap();
    }
    let mut setup = centre.setup();
    setup.env("PATH", without_psql.path());
    let text = failed(&mut setup);
    assert!(
        text.contains("`psql` is not installed") && text.contains("postgresql-client"),
        "{text}"
    );
    let text = failed(centre.setup().env("PG_ADMIN_PASS", "wrong"));
    assert!(
        text.contains("authentication failed") && text.contains("PG_ADMIN_PASS"),
        "{text}"
    );
    let text = failed(centre.setup().env("PG_SSLROOTCERT", centre.pki.stranger()));
    assert!(text.contains("certificate verify failed"), "{text}");
    let text = failed(centre.setup().env("VAULT_TOKEN", "wrong"));
    assert!(
        text.contains("cannot list the mounts of Vault") && text.contains("VAULT_TOKEN"),
        "{text}"
    );
    let text = failed(centre.setup().env_remove("PG_HOST"));
    assert!(text.contains("PG_HOST is not set"), "{text}");
    let text = failed(centre.setup().env("PG_DB", "a; drop table b"));
    assert!(text.contains("not a plain name"), "{text}");
    let text = failed(centre.setup().arg("--force"));
    assert!(text.starts_with("usage: "), "{text}");
}

#[test]
fn postgres_alone_can_be_set_up_without_vault() {
    let Some(centre) = alone() else { return };
    let mut setup = centre.setup();
    for name in ["VAULT_CLI", "VAULT_ADDR", "VAULT_TOKEN"] {
        setup.env_remove(name);
    }
    setup.arg("--postgres");
    let said = said(setup);
    assert!(
        said.contains("postgres: database vctl") && !said.contains("vault: "),
        "{said}"
    );
}

#[test]
fn the_administrator_password_is_needed_once() {
    let Some(centre) = alone() else { return };
    let admin = centre.bao.admin().unwrap();
    let password = centre.postgres.password().expose();
    let change = |to: &str| format!("alter role postgres password '{to}'");
    centre.postgres.psql(DATABASE, &change("changed")).unwrap();
    let credential = admin.credential("vctl-migrator");
    let changed = vctl_tests::centre::Secret::new("changed");
    let login = vctl_tests::centre::Login {
        password: &changed,
        ..centre.postgres.superuser(DATABASE)
    };
    centre.postgres.psql_as(login, &change(password)).unwrap();
    admin.revoke(&credential.unwrap()).unwrap();
}

#[test]
fn the_script_is_clean() {
    if !installed("shellcheck") {
        skip("`shellcheck` is not installed");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/vault/setup.sh");
    let output = Command::new("shellcheck").arg(script).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Creates a program that records its arguments and then runs the real program.
fn wrap(directory: &Path, name: &str, program: &Path, log: &Path) {
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{}'\nexec '{}' \"$@\"\n",
        log.display(),
        program.display()
    );
    let path = directory.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn said(mut setup: Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = setup.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{stderr}");
    assert_eq!(stderr, "");
    String::from_utf8(stdout).unwrap()
}

/// Returns the whole configuration that setup.sh creates, one item a line.
fn configuration(centre: &Centre) -> String {
    let admin = centre.bao.admin().unwrap();
    let list = |path: &str| -> Vec<String> {
        let keys = admin.call("LIST", path, None).unwrap().body["data"]["keys"].take();
        serde_json::from_value(keys).unwrap_or_default()
    };
    let mut paths: Vec<String> = [
        "sys/mounts",
        "sys/auth",
        "database/config/vctl",
        "ssh/config/ca",
        "ssh/roles/sre-core",
        "ssh/roles/vctl-host",
        "ssh-next/roles/sre-core",
        "ssh-next/roles/vctl-host",
    ]
    .map(str::to_owned)
    .into();
    for (directory, suffix) in [
        ("sys/policies/acl", ""),
        ("database/roles", ""),
        ("sys/quotas/rate-limit", ""),
        ("auth/approle/role", ""),
        ("auth/approle/role", "/role-id"),
        ("identity/group/name", ""),
        ("identity/group-alias/id", ""),
    ] {
        let names = list(directory);
        paths.extend(
            names
                .iter()
                .map(|name| format!("{directory}/{name}{suffix}")),
        );
    }
    let mut lines: Vec<_> = paths
        .iter()
        .map(|path| {
            let mut data = admin.get(path).unwrap()["data"].take();
            // These fields contain the time of the last write, and not the configuration.
            let written = data.as_object_mut().into_iter();
            written.for_each(|thing| {
                thing.remove("last_update_time");
                thing.remove("modify_index");
                if let Some(alias) = thing.get_mut("alias").and_then(Value::as_object_mut) {
                    alias.remove("last_update_time");
                }
            });
            format!("{path}: {data}")
        })
        .collect();
    for sql in [
        "select r::text from (select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, \
         rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil from pg_roles where rolname !~ '[/]' \
         order by 1) r",
        "select roleid::regrole, member::regrole, admin_option from pg_auth_members \
         where member::regrole::text !~ '[/]' order by 1, 2",
        // The password must not change either.
        "select rolname, md5(rolpassword) from pg_authid where rolname = 'vctl_vault'",
        "select datname, datdba::regrole, datacl from pg_database order by 1",
        "select setdatabase, setrole, setconfig from pg_db_role_setting order by 1, 2",
        "select proname, proacl from pg_proc where proacl is not null order by oid",
        "select nspname, nspacl from pg_namespace where nspname in ('public', 'vctl') order by 1",
    ] {
        let rows = centre.postgres.psql(DATABASE, sql).unwrap();
        lines.extend(rows.lines().map(str::to_owned));
    }
    lines.join("\n")
}
