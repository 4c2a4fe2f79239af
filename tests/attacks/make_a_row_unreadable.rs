//! One row of one user or host makes a reading command fail, wait or print megabytes for all users.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Credential};
use vctl_tests::mcp_client::Client as McpClient;

use crate::as_person::{refusal, stderr, stdout, vctl};

#[test]
fn an_access_has_limits() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let eve = centre.person("eve-rows", &["vctl-user", "vctl-ssh"]);
    let login = eve.unwrap().credential("vctl-audit-writer").unwrap();
    let open = |change: &Value| {
        let mut access = json!({"hostname": "web-1", "login_user": "root", "cert_serial": "7001"});
        for (key, value) in change.as_object().unwrap() {
            access[key] = value.clone();
        }
        format!("select vctl.open_access_v1('userpass-eve-rows', '{access}')")
    };
    for change in [
        json!({"opened_at": "-infinity"}),
        json!({"opened_at": "infinity"}),
        json!({"opened_at": "4700-01-01 BC"}),
        json!({"opened_at": "2001-01-01"}),
        json!({"login_user": "u".repeat(20_000)}),
        json!({"hostname": "h".repeat(256)}),
        json!({"ca_fingerprint": "f".repeat(129)}),
        json!({"jump_via": vec!["j"; 33]}),
        json!({"jump_via": ["j".repeat(256)]}),
        json!({"jump_via": "no list"}),
        json!({"hops": vec![json!({"hostname": "h"}); 33]}),
        json!({"cert_serial": "1e400"}),
    ] {
        refusal(centre, &login, &open(&change));
    }
    let long = json!({"key_id": "k".repeat(9000), "command": "c".repeat(9000), "client_host": "h".repeat(900)});
    let id = centre
        .postgres
        .psql_as(login.login(), &open(&long))
        .unwrap();
    let row = format!(
        "select length(key_id), length(command), length(client_host), right(key_id, 1), isfinite(opened_at) \
         from vctl.access_log where id = {id}"
    );
    assert_eq!(centre.ask(&row).unwrap(), "1024|4096|255|…|t");
    for at in ["-infinity", "infinity"] {
        let close = format!(
            "select vctl.close_access_v1('userpass-eve-rows', {id}, '{{\"result\": \"ok\", \"closed_at\": \"{at}\"}}')"
        );
        centre.postgres.psql_as(login.login(), &close).unwrap();
    }
    let row = format!("select isfinite(closed_at) from vctl.access_log where id = {id}");
    assert_eq!(centre.ask(&row).unwrap(), "t");
}

#[test]
fn a_status_has_limits() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("liar-status").unwrap();
    let login = centre
        .as_host(&host)
        .unwrap()
        .credential(&host.role("status"))
        .unwrap();
    let status = |status: &Value| format!("select vctl.status_v1('{status}')");
    let addresses: Vec<String> = (0..65).map(|n| format!("10.0.0.{n}")).collect();
    for change in [
        json!({"secret_id_expires_at": "infinity"}),
        json!({"oldest_unshipped_at": "-infinity"}),
        json!({"oldest_unshipped_at": "9999-01-01"}),
        json!({"addresses": addresses}),
        json!({"problem": "p".repeat(70_000)}),
        json!(["no object"]),
    ] {
        refusal(centre, &login, &status(&change));
    }
    let long = json!({"problem": "p".repeat(9000), "os": "o".repeat(900), "agent_version": "v".repeat(900),
        "addresses": addresses[1..], "of_a_newer_agent": true, "hostname": "another"});
    centre
        .postgres
        .psql_as(login.login(), &status(&long))
        .unwrap();
    let row = "select length(problem), length(os), length(agent_version), cardinality(addresses) \
               from vctl.server_status where hostname = 'liar-status'";
    assert_eq!(centre.ask(row).unwrap(), "500|500|64|64");
}

/// A batch with one opened session and one event.
struct Batch {
    opened: Value,
    closed: Value,
    seq: i64,
    at: &'static str,
    argv: usize,
}

impl Batch {
    fn new(key_id: &str) -> Self {
        let id = uuid::Uuid::now_v7();
        let boot = "11111111-2222-4333-8444-555555555555";
        let at = "2026-01-01T00:00:00Z";
        let opened = json!({"id": id, "boot_id": boot, "wall": 0, "opened_at": at, "login_user": "u".repeat(9000),
            "service": "sshd", "origin": "login", "stamp": "in_time", "ca_fingerprint": "SHA256:x",
            "cert_serial": "7", "key_id": key_id, "entry": json!({"key_id": key_id}).to_string()});
        let closed = json!({"id": id, "closed_at": at, "wall": 0, "produced": 1, "entry": "{}"});
        Self {
            opened,
            closed,
            seq: 1,
            at: "1970-01-01",
            argv: 1,
        }
    }

    fn store(&self, centre: &Centre, login: &Credential) -> anyhow::Result<String> {
        let id = self.opened["id"].as_str().unwrap();
        let spool = uuid::Uuid::now_v7();
        let boot = "11111111-2222-4333-8444-555555555555";
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("batch.sql");
        // The statement is longer than one argument may be.
        let sql = format!(
            "select cursor_segment from vctl.ingest_v1('{boot}', '{boot}', '1', '{spool}', '{{1,0,0}}', '{{2,0,0}}',
             array[$e${opened}$e$::json], array[$e${closed}$e$::json], '{{}}', array['{id}'::uuid],
             array[{seq}::bigint], array['{at}'::timestamptz], array[0::bigint], array[1::smallint], array[1],
             array[1], array[1::bigint], array[0], array['a'::bytea], array['a'::bytea], array['a'::bytea],
             array[convert_to(repeat('a', {argv}), 'UTF8')], array['a'::bytea])",
            opened = self.opened,
            closed = self.closed,
            seq = self.seq,
            at = self.at,
            argv = self.argv,
        );
        std::fs::write(&file, sql)?;
        let mut psql = centre
            .postgres
            .psql_command(login.login(), "verify-full", centre.pki.ca());
        let output = psql.arg("-f").arg(file).output()?;
        anyhow::ensure!(output.status.success(), "{}", stderr(&output));
        Ok(stdout(&output))
    }
}

#[test]
fn a_batch_takes_what_users_cause_and_nothing_else() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("liar-batch").unwrap();
    let login = centre
        .as_host(&host)
        .unwrap()
        .credential(&host.role("audit-ingest"))
        .unwrap();
    // Such a key id does not fit into an index, but it must not block a host. The bytes are random, so they do not
    // compress.
    let random: String = (0..2000)
        .map(|_| uuid::Uuid::now_v7().simple().to_string())
        .collect();
    let of_a_user = Batch {
        argv: 128 << 10,
        ..Batch::new(&format!("{}{random}", "\u{1}".repeat(30_000)))
    };
    of_a_user.store(centre, &login).unwrap();
    let row = format!(
        "select length(key_id), length(login_user), stored, length(opened::text) > 200000 \
         from vctl.audit_session where id = '{}'",
        of_a_user.opened["id"].as_str().unwrap()
    );
    assert_eq!(centre.ask(&row).unwrap(), "512|255|1|t");
    // The agent writes this key id into the entry as it is. Each later batch of the host has the entry again.
    let mut nul = Batch::new("oidc-a");
    nul.opened["entry"] = json!(json!({"key_id": "a\0", "marked_at": 5}).to_string());
    nul.closed["entry"] =
        json!(json!({"reason": "never_recorded", "at": "never", "host": "a\0"}).to_string());
    for seq in [1, 2] {
        nul.seq = seq;
        nul.store(centre, &login).unwrap();
    }

    let of_nobody = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new("oidc-a");
        change(&mut batch);
        batch
    };
    let refused = [
        of_nobody(&|batch| batch.seq = -1),
        of_nobody(&|batch| batch.seq = 0),
        of_nobody(&|batch| batch.at = "infinity"),
        of_nobody(&|batch| batch.at = "1969-12-31"),
        of_nobody(&|batch| batch.argv = 40 << 20),
        of_nobody(&|batch| batch.closed["produced"] = json!(-1)),
        of_nobody(&|batch| batch.closed["closed_at"] = json!("infinity")),
        of_nobody(&|batch| batch.opened["opened_at"] = json!("-infinity")),
        of_nobody(&|batch| batch.opened["entry"] = json!(format!("\"{}\"", "e".repeat(3 << 20)))),
    ];
    for batch in &refused {
        let refused = batch.store(centre, &login).is_err();
        assert!(refused, "{} {} {}", batch.seq, batch.at, batch.argv);
    }
}

#[test]
fn the_inventory_has_limits() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let eve = centre.with_policies(&["vctl-enroll"]).unwrap();
    let login = eve.credential("vctl-rw").unwrap();
    for (column, value) in [
        ("last_seen_up", "'infinity'"),
        ("enrolled_at", "'-infinity'"),
        ("dc", "repeat('d', 256)"),
        ("ssh_user", "repeat('u', 256)"),
        ("tags", "array_fill('t'::text, array[65])"),
        ("tags", "array[repeat('t', 20000)]"),
        ("extra_ips", "array_fill('10.0.0.1'::inet, array[257])"),
    ] {
        let sql = format!(
            "insert into vctl.servers (hostname, ip, {column}) values ('row-of-eve', '10.0.0.1', {value})"
        );
        let said = refusal(centre, &login, &sql);
        assert!(said.contains("servers_limits"), "{column}: {said}");
    }
}

/// Rows that were possible before there were limits, next to one valid row of each kind.
const OLD_ROWS: &str = "
alter table vctl.access_log drop constraint access_log_limits;
alter table vctl.server_status drop constraint server_status_limits;
alter table vctl.audit_session drop constraint audit_session_limits;
alter table vctl.servers drop constraint servers_limits;
insert into vctl.servers (hostname, ip, last_seen_up) values ('liar', '10.0.0.1', 'infinity'), ('well', '10.0.0.2', now());
insert into vctl.server_status (hostname, agent_version, secret_id_expires_at, oldest_unshipped_at, problem, addresses)
select 'liar', '1', 'infinity', '-infinity', repeat('p', 5000000),
    array(select ('10.' || n / 65536 % 256 || '.' || n / 256 % 256 || '.' || n % 256)::inet from generate_series(1, 100000) n);
insert into vctl.server_status (hostname, agent_version) values ('well', '1');
insert into vctl.access_log (vault_user, opened_at, hostname, login_user, cert_serial, ca_fingerprint) values
    ('userpass-eve', '-infinity', 'h', 'u', 1, 'c'), ('userpass-eve', 'infinity', 'h', 'u', null, null),
    ('userpass-eve', '4700-01-01 BC', 'h', 'u', null, null),
    ('userpass-eve', now(), 'h', repeat('u', 10000000), null, null), ('userpass-alice', now(), 'well', 'root', 1, 'c');
insert into vctl.audit_host (hostname) values ('liar'), ('well');
insert into vctl.audit_session (id, host_id, boot_id, opened_at, login_user, opened, opened_wall, stored, last_seq, cert_serial, ca_fingerprint, key_id)
select id::uuid, host, gen_random_uuid(), at::timestamptz, login, json_build_object('entry', 'opened', 'id', id, 'origin',
    json_build_object('kind', 'login'), 'login_user', 'deploy', 'service', 'sshd', 'auth', json_build_object('method', 'publickey',
    'certificate', json_build_object('serial', '1', 'key_id', 'k', 'ca_fingerprint', 'c', 'principals', json_build_array(),
    'valid_after', 0, 'valid_before', 0)), 'leader', json_build_object('tgid', 1, 'start', 1), 'opened_at', 5000000000, 'stamp', 'in_time'),
    1767225600000000000, stored, seq, 1, 'c', 'k'
from (values ('0193f3a1-7c4e-7d61-9f0a-000000000001', 1, 'infinity', 'deploy', 0, 0),
    ('0193f3a1-7c4e-7d61-9f0a-000000000002', 1, '2026-06-01', 'deploy', 0, 0),
    ('0193f3a1-7c4e-7d61-9f0a-000000000003', 1, '2026-01-01 00:00:05+00', 'root', 0, 0),
    ('0193f3a1-7c4e-7d61-9f0a-000000000004', 1, '2026-01-01 00:00:05+00', 'deploy', 1, -1),
    ('0193f3a1-7c4e-7d61-9f0a-000000000005', 2, '2026-01-01 00:00:05+00', 'deploy', 0, 0),
    ('0193f3a1-7c4e-7d61-9f0a-000000000006', 1, 'now', 'deploy', 0, 0)) s (id, host, at, login, stored, seq);
-- The first text is JSON for Rust and not for Postgres, and the second one for neither. Both are logins of a listed access.
update vctl.audit_session set vault_user = 'userpass-alice', opened = replace(opened::text, '\"login_user\"',
    case when host_id = 2 then '\"remote_host\": \"a\\u0000b\",' else '\"remote_host\": \"a\\u0000\\ud800\",' end || '\"login_user\"')::json
where id in ('0193f3a1-7c4e-7d61-9f0a-000000000005', '0193f3a1-7c4e-7d61-9f0a-000000000006')";

#[test]
fn readers_go_on_past_an_unreadable_row() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "old_rows";
    centre.create_database_with_schema(db).unwrap();
    centre.postgres.psql(db, OLD_ROWS).unwrap();
    let reader = centre
        .with_policies(&["vctl-user", "vctl-auditor"])
        .unwrap();
    let well = "0193f3a1-7c4e-7d61-9f0a-000000000005";
    for (args, shown, noted) in [
        (&["audit"][..], "alice", 4),
        (&["audit", "--detail"], "alice", 4),
        (&["audit", "-o", "json"], "userpass-alice", 4),
        (&["audit", "-o", "csv"], "userpass-alice", 4),
        (&["fleet"], "well", 0),
        (&["fleet", "-o", "json"], "cannot be read", 0),
        (&["list"], "well", 0),
        (&["list", "-o", "json"], "well", 0),
        (&["audit", "export"], "userpass-alice", 3),
        (&["session", "--list"], well, 5),
        (&["session", "--list", "-o", "json"], well, 5),
        (&["session", well], well, 0),
        (&["session", well, "-o", "json"], "1970-01-01", 0),
    ] {
        let asked = Instant::now();
        let output = vctl(centre, &reader, db, args).output().unwrap();
        let (out, err) = (stdout(&output), stderr(&output));
        assert!(output.status.success(), "{args:?}: {err}");
        assert!(out.contains(shown), "{args:?}: {out:.2000}");
        assert_eq!(err.matches("left out").count(), noted, "{args:?}: {err}");
        assert!(out.len() < 100_000, "{args:?}: {} bytes", out.len());
        assert!(asked.elapsed() < Duration::from_secs(20), "{args:?}");
    }
    let unexplained = ["audit", "--without-access"];
    let unexplained = vctl(centre, &reader, db, &unexplained).output().unwrap();
    assert!(unexplained.status.success(), "{unexplained:?}");
    let mut agent = McpClient::start(vctl(centre, &reader, db, &["mcp"]));
    agent.call(1, "vctl_access_log", &json!({}));
    let answer = agent.answer(1);
    assert!(answer.to_string().contains("alice"), "{answer}");
}
