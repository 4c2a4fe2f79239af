//! The rights of each database login.

use std::io::Write;
use std::process::Stdio;

use vctl_tests::centre::{Centre, Credential, DATABASE};

use crate::fixture::markdown_table;

/// `S`elect, `I`nsert, `U`pdate, `D`elete, `T`runcate.
const TABLES: &str = "
| table              | ro  | rw  | identity | audit-ro | audit-writer | audit-ingest | status | pruner | migrator | session-end | revoke | stream-ingest |
| ------------------ | --- | --- | -------- | -------- | ------------ | ------------ | ------ | ------ | -------- | ----------- | ------ | ------------- |
| `servers`          | S   | SIUD |          | S        | S            |              |        |        | SIUDT    |             |        |               |
| `server_status`    | S   | SD  |          | S        | S            |              |        |        | SIUDT    |             |        |               |
| `seen_users`       | S   | SD  |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `rbac_groups`      | S   | S   |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `rbac_members`     | S   | S   |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `rbac_grants`      | S   | S   |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `rbac_change`      | S   | S   |          | S        |              |              |        |        | SI       |             |        |               |
| `ca_keys`          | S   | SIUD |          | S        | S            |              |        |        | SIUDT    |             |        |               |
| `host_trust`       | S   | SIUD |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `host_certificate` | S   | SIUD |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `db_login`         |     |     |          |          |              |              |        |        | SIUDT    |             |        |               |
| `access_log`       |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `access_hop`       |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `audit_host`       | S   |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `audit_session`    |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `audit_gap`        |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `kernel_event`     |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `kernel_event_*`   |     |     |          |          |              |              |        |        | SIUDT    |             |        |               |
| `ingest_cursor`    | S   |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `ingest_machine`   | S   |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `schema_migration` | S   | S   |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `schema_compat`    | S   | S   |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `retention_floor`  |     |     |          |          |              |              |        |        | SIUDT    |             |        |               |
| `event_day_turn`   |     |     |          |          |              |              |        |        | SIUDT    |             |        |               |
| `host_former_name` | S   | S   |          | S        |              |              |        |        | SI       |             |        |               |
| `session_end_request` |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `session_end_poll` |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `revocation`       |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
| `access_change`    |     |     |          | S        |              |              |        |        | SIUDT    |             |        |               |
";

/// `x`: the login may call the function.
const FUNCTIONS: &str = "
| function           | ro  | rw  | identity | audit-ro | audit-writer | audit-ingest | status | pruner | migrator | session-end | revoke | stream-ingest |
| ------------------ | --- | --- | -------- | -------- | ------------ | ------------ | ------ | ------ | -------- | ----------- | ------ | ------------- |
| `person`           | x   | x   | x        | x        | x            | x            | x      | x      | x        | x           | x      | x             |
| `seen_v1`          |     |     | x        |          |              |              |        |        | x        |             |        |               |
| `open_access_v1`   |     |     |          |          | x            |              |        |        | x        |             |        |               |
| `close_access_v1`  |     |     |          |          | x            |              |        |        | x        |             |        |               |
| `ingest_v1`        |     |     |          |          |              | x            |        |        | x        |             |        |               |
| `cursor_v1`        |     |     |          |          |              | x            |        |        | x        |             |        |               |
| `status_v1`        |     |     |          |          |              |              | x      |        | x        |             |        |               |
| `prune_plan_v1`    |     |     |          | x        |              |              |        | x      | x        |             |        |               |
| `event_days`       |     |     |          | x        |              |              |        | x      | x        |             |        |               |
| `prune_v1`         |     |     |          |          |              |              |        | x      | x        |             |        |               |
| `prepare_days_v1`  |     |     |          |          |              |              |        | x      | x        |             |        |               |
| `login_person`     |     |     |          |          |              |              |        |        | x        |             |        |               |
| `login_host`       |     |     |          |          |              |              |        |        | x        |             |        |               |
| `compat_v1`        | x   | x   | x        | x        | x            | x            | x      | x      | x        | x           | x      | x             |
| `ensure_event_day` |     |     |          |          |              |              |        |        | x        |             |        |               |
| `prune_step`       |     |     |          |          |              |              |        |        | x        |             |        |               |
| `check_retention`  |     |     |          |          |              |              |        |        | x        |             |        |               |
| `old_sessions`     |     |     |          |          |              |              |        |        | x        |             |        |               |
| `old_gaps`         |     |     |          |          |              |              |        |        | x        |             |        |               |
| `old_accesses`     |     |     |          |          |              |              |        |        | x        |             |        |               |
| `cut`              |     |     |          |          |              |              |        |        | x        |             |        |               |
| `named`            |     |     |          |          |              |              |        |        | x        |             |        |               |
| `plausible`        |     |     |          |          |              |              |        |        | x        |             |        |               |
| `items`            |     |     |          |          |              |              |        |        | x        |             |        |               |
| `small`            |     |     |          |          |              |              |        |        | x        |             |        |               |
| `login_contradictions` |     |     |          | x        |              |              |        |        | x        |             |        |               |
| `doubtful_logins_v1` | x   |     |          |          |              |              |        |        | x        |             |        |               |
| `is_users_exec`    |     |     |          |          |              |              |        |        | x        |             |        |               |
| `note_arrival`     |     |     |          |          |              |              |        |        | x        |             |        |               |
| `note_access_change` |     |     |          |          |              |              |        |        | x        |             |        |               |
| `caller_grants_v1` | x   | x   | x        | x        | x            |              |        | x      | x        |             |        |               |
| `rbac_create_group_v1` |     | x   |          |          |              |              |        |        | x        |             |        |               |
| `rbac_delete_group_v1` |     | x   |          |          |              |              |        |        | x        |             |        |               |
| `rbac_members_v1`  |     | x   |          |          |              |              |        |        | x        |             |        |               |
| `rbac_grants_v1`   |     | x   |          |          |              |              |        |        | x        |             |        |               |
| `record_rbac`      |     |     |          |          |              |              |        |        | x        |             |        |               |
| `existing_group`   |     |     |          |          |              |              |        |        | x        |             |        |               |
| `person_key`       |     |     |          |          |              |              |        |        | x        |             |        |               |
| `refuse_change`    |     |     |          |          |              |              |        |        | x        |             |        |               |
| `host_seen_at`     |     |     |          | x        |              |              |        |        | x        |             |        |               |
| `session_to_end_v1` |     |     |          |          |              |              |        |        | x        | x           |        |               |
| `request_session_end_v1` |     |     |          |          |              |              |        |        | x        | x           | x      |               |
| `session_end_state_v1` |     |     |          |          |              |              |        |        | x        | x           | x      |               |
| `session_ends_v1`  |     |     |          |          |              | x            |        |        | x        |             |        |               |
| `answer_session_end_v1` |     |     |          |          |              | x            |        |        | x        |             |        |               |
| `host_rename_v1`   |     | x   |          |          |              |              |        |        | x        |             |        |               |
| `renamed_from`     |     |     |          |          |              |              |        |        | x        |             |        |               |
| `refuse_former_name` |     |     |          |          |              |              |        |        | x        |             |        |               |
| `refuse_former_names_left` |     |     |          |          |              |              |        |        | x        |             |        |               |
| `sessions_of_v1` |     |     |          |          |              |              |        |        | x        |             | x      |               |
| `certificates_of_v1` |     |     |          |          |              |              |        |        | x        |             | x      |               |
| `revoked_names_v1` |     |     |          |          |              |              |        |        | x        |             | x      |               |
| `begin_revocation_v1` |     |     |          |          |              |              |        |        | x        |             | x      |               |
| `finish_revocation_v1` |     |     |          |          |              |              |        |        | x        |             | x      |               |
| `store_batch`      |     |     |          |          |              |              |        |        | x        |             |        |               |
| `stream_host`      |     |     |          |          |              |              |        |        | x        |             |        |               |
| `stream_ingest_v1` |     |     |          |          |              |              |        |        | x        |             |        | x             |
| `stream_cursor_v1` |     |     |          |          |              |              |        |        | x        |             |        | x             |
| `stream_names_v1`  |     |     |          |          |              |              |        |        | x        |             |        | x             |
| `stream_stored_at_v1` |     |     |          |          |              |              |        |        | x        |             |        | x             |
| `never_recorded_until` |     |     |          |          |              |              |        |        | x        |             |        |               |
| `began_after` |     |     |          |          |              |              |        |        | x        |             |        |               |
| `number_in` |     |     |          |          |              |              |        |        | x        |             |        |               |
| `without_escapes` |     |     |          | x        |              |              |        |        | x        |             |        |               |
";

#[test]
fn each_login_has_exactly_its_table_rights() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    markdown_table::assert_in_readme(TABLES);
    let all = "select tablename from pg_tables where schemaname = 'vctl'";
    let all = centre.postgres.psql(DATABASE, all).unwrap();
    let rows = markdown_table::rows(TABLES);
    for name in all.lines() {
        let listed = rows.iter().any(|row| matches(&row.name, name));
        assert!(listed, "`{name}` is not in the table of rights");
    }
    let mut wrong = Vec::new();
    for (column, (role, _)) in rows[0].cells.iter().enumerate() {
        let credential = credential(centre, role);
        for name in all.lines() {
            // A row with the exact name has priority over a row with a pattern.
            let row = rows.iter().find(|row| row.name == name);
            let row = row.or_else(|| rows.iter().find(|row| matches(&row.name, name)));
            let expected = &row.unwrap().cells[column].1;
            let found = verbs(centre, &credential, name);
            if found != *expected {
                wrong.push(format!("{role} may `{found}` {name}, not `{expected}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_login_has_exactly_its_function_rights() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    markdown_table::assert_in_readme(FUNCTIONS);
    let all = "select distinct proname from pg_proc where pronamespace = 'vctl'::regnamespace";
    let all = centre.postgres.psql(DATABASE, all).unwrap();
    let rows = markdown_table::rows(FUNCTIONS);
    for name in all.lines() {
        let listed = rows.iter().any(|row| row.name == name);
        assert!(listed, "`{name}` is not in the table of rights");
    }
    let mut wrong = Vec::new();
    for (column, (role, _)) in rows[0].cells.iter().enumerate() {
        let credential = credential(centre, role);
        // One connection: Postgres may still count the last one of the login.
        let sql = "select proname from pg_proc where pronamespace = 'vctl'::regnamespace \
                   group by proname having bool_or(has_function_privilege(session_user, oid, 'execute'))";
        let allowed = centre.postgres.psql_as(credential.login(), sql).unwrap();
        for row in &rows {
            let may = allowed.lines().any(|name| name == row.name);
            let found = if may { "x" } else { "" };
            if found != row.cells[column].1 {
                wrong.push(format!("{role} on {}: `{found}`", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_login_of_vault_creates_objects_or_changes_role() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    for role in markdown_table::rows(TABLES)[0]
        .cells
        .iter()
        .map(|(role, _)| role)
    {
        if role == "migrator" {
            continue;
        }
        let credential = credential(centre, role);
        for sql in [
            "create table vctl.mine ()",
            "create table public.mine ()",
            "create temporary table mine ()",
            "create schema mine",
            "create role mine",
            "set role vctl_owner",
            "set role vctl_vault",
            "grant vctl_owner to current_user",
            "set session authorization postgres",
            "alter role vctl_vault password 'x'",
            "copy (select 1) to program 'true'",
        ] {
            let done = centre.postgres.psql_as(credential.login(), sql);
            let said = format!("{:#}", done.expect_err(sql));
            let refused = ["permission denied", "must be", "must have"];
            assert!(
                refused.iter().any(|words| said.contains(words)),
                "{role}: {sql}: {said}"
            );
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

fn credential(centre: &Centre, role: &str) -> Credential {
    let admin = centre.bao.admin().unwrap();
    admin.credential(&format!("vctl-{role}")).unwrap()
}

/// Tries the verbs on a table, and rolls the changes back.
fn verbs(centre: &Centre, credential: &Credential, table: &str) -> String {
    let column = format!(
        "select attname from pg_attribute where attrelid = 'vctl.{table}'::regclass \
         and attnum > 0 and attidentity = '' order by attnum limit 1"
    );
    let column = centre.postgres.psql(DATABASE, &column).unwrap();
    let update = match &*column {
        // Such a table is used only for locks.
        "" => format!("select from vctl.{table} for update"),
        column => format!("update vctl.{table} set \"{column}\" = default where false"),
    };
    let script = [
        ("S", format!("select from vctl.{table} limit 0")),
        ("I", format!("insert into vctl.{table} default values")),
        ("U", update),
        ("D", format!("delete from vctl.{table} where false")),
    ]
    .map(|(letter, sql)| format!("begin;\n{sql};\n\\echo {letter} :SQLSTATE\nrollback;\n"))
    .concat();
    let said = run(centre, credential, &script);
    let lines: Vec<_> = said.lines().filter(|line| line.len() == 7).collect();
    assert_eq!(lines.len(), 4, "{said}");
    // 42501 is "insufficient privilege". With any other error, the login had the right.
    let allowed = lines.iter().filter(|line| !line.ends_with("42501"));
    let mut allowed: String = allowed.map(|line| &line[..1]).collect();
    // A real attempt would block the table for every other spec for a moment.
    let truncate = format!("select has_table_privilege('vctl.{table}', 'truncate')");
    if centre
        .postgres
        .psql_as(credential.login(), &truncate)
        .unwrap()
        == "t"
    {
        allowed.push('T');
    }
    allowed
}

fn run(centre: &Centre, credential: &Credential, script: &str) -> String {
    let mut psql = centre
        .postgres
        .psql_command(credential.login(), "verify-full", centre.pki.ca())
        .args(["-v", "ON_ERROR_STOP=0", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = psql.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    let output = psql.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
