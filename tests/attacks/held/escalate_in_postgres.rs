//! A login with read access to the inventory tries to read, create and keep more.

use vctl_tests::centre::{Centre, Client, Credential, DATABASE};

fn reader() -> Option<(&'static Centre, Client, Credential)> {
    let centre = Centre::shared()?;
    let client = centre.with_policies(&["vctl-user"]).unwrap();
    let login = client.credential("vctl-ro").unwrap();
    Some((centre, client, login))
}

fn assert_refused(centre: &Centre, login: &Credential, statements: &[&str]) {
    for sql in statements {
        let done = centre.postgres.psql_as(login.login(), sql);
        let said = format!("{:#}", done.expect_err(sql));
        let refused = ["permission denied", "must be", "must have", "not allowed"];
        let refused = refused.iter().any(|words| said.contains(words));
        assert!(refused, "{sql}: {said}");
    }
}

#[test]
fn a_reading_login_becomes_no_other_role_and_makes_nothing() {
    let Some((centre, _, login)) = reader() else {
        return;
    };
    let statements = [
        "set role vctl_rw",
        "set role vctl_audit_ro",
        "set session authorization vctl_vault",
        "create function pg_temp.person(text) returns text language sql as 'select $1'",
        "create function public.mine() returns int language sql as 'select 1'",
        "create extension pg_trgm",
        "create extension file_fdw",
        "create publication mine for all tables",
        "alter function vctl.person(text) owner to current_user",
        "alter role current_user createrole",
        "alter database vctl set search_path = pg_temp",
    ];
    assert_refused(centre, &login, &statements);
}

#[test]
fn a_reading_login_reads_nothing_of_the_server_or_of_others() {
    let Some((centre, _, login)) = reader() else {
        return;
    };
    let statements = [
        "select * from pg_authid",
        "select * from vctl.db_login",
        "select * from vctl.access_log",
        "select * from vctl.kernel_event",
        "select pg_read_file('postgresql.conf')",
        "select pg_ls_dir('.')",
        "select lo_import('/etc/passwd')",
        "copy (select 1) to program 'true'",
        "copy (select 1) to '/tmp/vctl-held'",
        "select vctl.login_host()",
        "select vctl.ensure_event_day(current_date)",
    ];
    assert_refused(centre, &login, &statements);
    let partition = "select tablename from pg_tables where schemaname = 'vctl' \
                     and tablename like 'kernel\\_event\\_%' limit 1";
    let partition = centre.postgres.psql(DATABASE, partition).unwrap();
    if !partition.is_empty() {
        let sql = format!("select * from vctl.{partition}");
        assert_refused(centre, &login, &[&sql]);
    }
    let others = "select count(*) from pg_stat_activity where usename <> current_user \
                  and query not in ('', '<insufficient privilege>')";
    let seen = centre.postgres.psql_as(login.login(), others).unwrap();
    assert_eq!(seen, "0");
    let statistics = "select count(*) from pg_stats where tablename in ('access_log', 'db_login')";
    let seen = centre.postgres.psql_as(login.login(), statistics).unwrap();
    assert_eq!(seen, "0");
}

#[test]
fn no_definer_function_looks_where_a_caller_can_write() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let sql = "select p.oid::regprocedure from pg_proc p \
               where pronamespace = 'vctl'::regnamespace and prosecdef \
                 and not exists (select from unnest(proconfig) c \
                                 where c in ('search_path=vctl, pg_temp', \
                                             'search_path=pg_catalog, pg_temp', \
                                             'search_path=pg_catalog, vctl, pg_temp'))";
    assert_eq!(centre.postgres.psql(DATABASE, sql).unwrap(), "");
    let count = "select count(*) > 5 from pg_proc \
                 where pronamespace = 'vctl'::regnamespace and prosecdef";
    assert_eq!(centre.postgres.psql(DATABASE, count).unwrap(), "t");
    let writable =
        "select bool_or(has_schema_privilege(r.rolname, 'vctl', 'create')) from pg_roles r \
                    where r.rolname in ('vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', \
                      'vctl_audit_writer', 'vctl_audit_ingest', 'vctl_status', 'vctl_pruner',
                      'vctl_session_end', 'vctl_revoke', 'vctl_stream_ingest')";
    assert_eq!(centre.postgres.psql(DATABASE, writable).unwrap(), "f");
}

#[test]
fn a_login_that_changed_its_own_password_still_ends() {
    let Some((centre, client, login)) = reader() else {
        return;
    };
    let own = "alter role current_user password 'of-its-own'";
    // Some servers refuse this statement. Then the login cannot keep a password.
    let _ = centre.postgres.psql_as(login.login(), own);
    client.revoke(&login).unwrap();
    let there = format!(
        "select count(*) from pg_roles where rolname = '{}'",
        login.username
    );
    assert_eq!(centre.postgres.psql(DATABASE, &there).unwrap(), "0");
}

#[test]
fn a_hostname_cannot_leave_its_place() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.with_policies(&["vctl-admin"]).unwrap();
    let login = admin.credential("vctl-rw").unwrap();
    for name in ["..", "-x", ".", "a/b", "web\n1", "a b", "VCTL", "a'';--"] {
        let sql = format!("insert into vctl.servers (hostname, ip) values (E'{name}', '10.0.0.1')");
        let done = centre.postgres.psql_as(login.login(), &sql);
        let said = format!("{:#}", done.expect_err(name));
        assert!(said.contains("host_name"), "{name}: {said}");
    }
}
