//! A user with only `vctl-user`, or one host, wants to stop ingest, reads, migrations and logins of all others.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

use vctl_tests::centre::{Centre, Client, Credential, DATABASE, HostIdentity, Options};

use crate::as_person::{refusal, stderr, stdout, vctl};

/// Returns a centre with the default limits of an administrator's setup.
fn usual() -> Option<&'static Centre> {
    static CENTRE: OnceLock<Option<Centre>> = OnceLock::new();
    let centre = CENTRE.get_or_init(|| {
        let centre = Centre::or_skip(&Options::default())?;
        set_up(&centre, "300");
        Some(centre)
    });
    centre.as_ref()
}

fn set_up(centre: &Centre, rate: &str) {
    let mut setup = centre.setup();
    setup
        .env_remove("LOGINS_PER_PERSON")
        .env_remove("CONNECTIONS_PER_PERSON")
        .env("CREDS_RATE", rate);
    let output = setup.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A connection that holds the locks or resources of `sql` until it is dropped.
struct Held(Child);

impl Held {
    fn new(centre: &Centre, login: &Credential, sql: &str) -> Self {
        let mut psql = centre
            .postgres
            .psql_command(login.login(), "verify-full", centre.pki.ca())
            .args([
                "-c",
                sql,
                "-c",
                "select 'held'",
                "-c",
                "select pg_sleep(600)",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(psql.stdout.as_mut().unwrap()).lines();
        let held = lines.map_while(Result::ok).any(|line| line == "held");
        let held = Self(psql).checked(held);
        assert!(held.is_some(), "not held: {sql}");
        held.unwrap()
    }

    fn checked(self, is_held: bool) -> Option<Self> {
        is_held.then_some(self)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_reader_cannot_write_lock_or_leave_the_database() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let mere = centre.person("mere-writes", &["vctl-user"]).unwrap();
    let login = mere.credential("vctl-ro").unwrap();
    for sql in [
        "select pg_advisory_lock(hashtext('vctl.ensure_event_day'))",
        "select pg_advisory_lock(1986229356, 1)",
        "select pg_try_advisory_lock_shared(1986229356, 1)",
        "select pg_advisory_xact_lock(1)",
        "select lo_from_bytea(0, 'a')",
        "select lo_create(0)",
        "select lo_creat(-1)",
        "select lo_put(1, 0, 'a')",
        "select pg_logical_emit_message(false, 'a', repeat('a', 1000))",
        "select pg_notify('a', 'b')",
        "select txid_current()",
        "select pg_current_xact_id()",
        "select pg_export_snapshot()",
        "begin; lock table vctl.event_day_turn in access share mode",
        "begin; lock table vctl.schema_migration in row share mode",
        "begin; lock table vctl.schema_migration in share update exclusive mode",
        "begin; lock table vctl.servers in row exclusive mode",
        "select from vctl.servers for update",
        "set temp_file_limit = -1",
        "create temporary table a ()",
    ] {
        let said = refusal(centre, &login, sql);
        assert!(said.contains("permission denied"), "{sql}: {said}");
    }
    for database in ["postgres", "template1"] {
        let elsewhere = vctl_tests::centre::Login {
            database,
            ..login.login()
        };
        let refused = centre.postgres.psql_as(elsewhere, "select 1").unwrap_err();
        assert!(format!("{refused:#}").contains("CONNECT"), "{refused:#}");
    }
    let much = "select count(*) from (select g, repeat('a', 1000) from generate_series(1, 3000000) g order by 2, 1) t";
    let sql = format!("set work_mem = '64kB'; {much}");
    let said = refusal(centre, &login, &sql);
    assert!(said.contains("temp_file_limit"), "{said}");
}

#[test]
fn every_function_that_public_may_call_was_reviewed() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let all = "select distinct case when n.nspname = 'pg_catalog' then p.proname \
                   else n.nspname || '.' || p.proname end \
               from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
               where has_function_privilege('public', p.oid, 'execute') and p.provolatile <> 'i' \
                 and p.proname !~ '^(RI_FKey_|pg_stat_get_)' and n.nspname <> 'information_schema'";
    let all = centre.postgres.psql(DATABASE, all).unwrap();
    let reviewed: BTreeSet<&str> = include_str!("public_functions.txt").lines().collect();
    let new: Vec<_> = all
        .lines()
        .filter(|name| !reviewed.contains(name))
        .collect();
    assert!(new.is_empty(), "not reviewed: {new:?}");
    // The list of reviewed functions contains no function of these kinds.
    let writes = ["advisory", "lo_", "lowrite", "notify", "emit", "export"];
    let wrong = reviewed
        .iter()
        .filter(|name| !name.starts_with('#') && writes.iter().any(|part| name.contains(part)));
    assert_eq!(
        wrong.collect::<Vec<_>>(),
        [&"pg_notification_queue_usage"; 0]
    );
}

#[test]
fn a_flood_of_logins_hurts_only_its_sender() {
    let Some(centre) = usual() else { return };
    let mere = centre.person("mere-floods", &["vctl-user"]).unwrap();
    let other = centre.person("other-reads", &["vctl-user"]).unwrap();
    let mut logins = Vec::new();
    for purpose in ["vctl-ro", "vctl-identity"].iter().cycle().take(16) {
        logins.push(mere.credential(purpose).unwrap());
    }
    for purpose in ["vctl-ro", "vctl-identity"] {
        let refused = format!("{:#}", mere.credential(purpose).map(|_| ()).unwrap_err());
        assert!(refused.contains("16 logins"), "{refused}");
    }
    // Each of these logins may have two connections. All logins of a user together have at most 64. The rest of the
    // connections is for other users.
    let held = [(); 2].map(|()| Held::new(centre, &logins[0], "select 1"));
    let said = refusal(centre, &logins[0], "select 1");
    assert!(said.contains("too many connections"), "{said}");
    let host = centre.enroll("bystander").unwrap();
    let client = centre.as_host(&host).unwrap();
    client.credential(&host.role("audit-ingest")).unwrap();
    let listed = vctl(centre, &other, DATABASE, &["list"]).output().unwrap();
    assert!(listed.status.success(), "{}", stderr(&listed));
    drop(held);
    // A revoked login makes room for a new one.
    centre.bao.admin().unwrap().revoke(&logins[0]).unwrap();
    mere.credential("vctl-ro").unwrap();
}

#[test]
fn shared_logins_leave_connections_to_others() {
    let Some(centre) = usual() else { return };
    let mere = centre
        .person("mere-shares", &["vctl-user", "vctl-ssh"])
        .unwrap();
    for purpose in ["vctl-audit-writer", "vctl-ro"].iter().cycle().take(16) {
        mere.credential(purpose).unwrap();
    }
    let refused = mere.credential("vctl-audit-writer").map(|_| ());
    assert!(format!("{:#}", refused.unwrap_err()).contains("16 logins"));
    // The first login is for a crowd; each other one has at least two connections, and all together have 64.
    let sql = "select string_agg(rolconnlimit::text, ' ' order by rolconnlimit desc), sum(rolconnlimit) \
               from pg_roles where rolname like '%/%mere-shares~%'";
    let limits = "24 12 2 2 2 2 2 2 2 2 2 2 2 2 2 2|64";
    assert_eq!(centre.postgres.psql(DATABASE, sql).unwrap(), limits);
}

#[test]
fn a_flood_of_one_host_ends_with_that_host() {
    let Some(centre) = usual() else { return };
    let [flood, quiet] = ["flood", "quiet"].map(|name| {
        let host = centre.enroll(name).unwrap();
        (centre.as_host(&host).unwrap(), host)
    });
    let ask = |(client, host): &(Client, HostIdentity), purpose: &str| {
        client.credential(&host.role(purpose)).map(|_| ())
    };
    for _ in 0..8 {
        ask(&flood, "audit-ingest").unwrap();
        ask(&flood, "status").unwrap();
    }
    for purpose in ["audit-ingest", "status"] {
        let refused = format!("{:#}", ask(&flood, purpose).unwrap_err());
        assert!(refused.contains("16 logins"), "{refused}");
        ask(&quiet, purpose).unwrap();
    }
}

#[test]
fn a_rate_limit_of_people_leaves_hosts_alone() {
    let options = Options::default();
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    set_up(&centre, "3");
    let mere = centre.person("mere-hurries", &["vctl-user"]).unwrap();
    let host = centre.enroll("unhurried").unwrap();
    let client = centre.as_host(&host).unwrap();
    let ask = |path: &str| mere.call("GET", path, None).unwrap().status;
    let answers: Vec<u16> = (0..6).map(|_| ask("database/creds/vctl-ro")).collect();
    assert_eq!(answers[..3], [200; 3], "{answers:?}");
    assert!(answers.contains(&429), "{answers:?}");
    // A second role of the same user still works, and so does a host at the same address.
    assert_eq!(ask("database/creds/vctl-identity"), 200);
    for _ in 0..6 {
        client.credential(&host.role("status")).unwrap();
    }
    // The home has no cached hosts here. The exit code says that a later try may work.
    let listed = vctl(&centre, &mere, DATABASE, &["list"]).output().unwrap();
    assert_eq!(listed.status.code(), Some(75), "{}", stderr(&listed));
}

#[test]
fn a_stranger_with_the_migrators_lock_stops_no_migration() {
    let Some(centre) = usual() else { return };
    // This was the state before setup.sh revoked the function, and still is where setup.sh did not run again.
    let open = "grant execute on function pg_advisory_lock(integer, integer) to public";
    centre.postgres.psql(DATABASE, open).unwrap();
    let mere = centre.person("mere-locks", &["vctl-user"]).unwrap();
    let login = mere.credential("vctl-ro").unwrap();
    let lock = "select pg_advisory_lock(1986229356, 1)";
    let held = Held::new(centre, &login, lock);
    let admin = centre.with_policies(&["vctl-admin"]).unwrap();
    let args = ["migrate", "--wait", "1"];
    let output = vctl(centre, &admin, DATABASE, &args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("nothing to apply"));
    drop(held);
    let close = "revoke execute on function pg_advisory_lock(integer, integer) from public";
    centre.postgres.psql(DATABASE, close).unwrap();
}

#[test]
fn an_idle_reader_stops_no_day_and_no_batch() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let mere = centre.person("mere-idles", &["vctl-user"]).unwrap();
    let login = mere.credential("vctl-ro").unwrap();
    // This login can lock only the tables that it may read.
    let held = Held::new(
        centre,
        &login,
        "begin; select count(*) from vctl.servers, vctl.server_status, vctl.audit_host, vctl.ingest_cursor, \
         vctl.ingest_machine, vctl.schema_compat, vctl.schema_migration, vctl.ca_keys, vctl.host_trust",
    );
    let host = centre.enroll("ingests-on").unwrap();
    let client = centre.as_host(&host).unwrap();
    let ingest = client.credential(&host.role("audit-ingest")).unwrap();
    let batch = "set statement_timeout = '8s'; select cursor_segment from vctl.ingest_v1(gen_random_uuid(), \
        gen_random_uuid(), '1', gen_random_uuid(), '{1,0,0}', '{2,0,0}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', \
        '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')";
    let stored = centre.postgres.psql_as(ingest.login(), batch).unwrap();
    assert_eq!(stored, "2");
    let pruner = centre.bao.admin().unwrap().credential("vctl-pruner");
    let days = "set statement_timeout = '8s'; select vctl.prepare_days_v1(12)";
    let pruner = pruner.unwrap();
    centre.postgres.psql_as(pruner.login(), days).unwrap();
    drop(held);
}

/// A transaction that makes a partition locks out all others that need one, until its end.
#[test]
fn a_host_that_holds_a_batch_open_stops_no_new_day() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let [holds, ingests] = ["holds-a-day", "ingests-on-2"].map(|name| {
        let host = centre.enroll(name).unwrap();
        let client = centre.as_host(&host).unwrap();
        client.credential(&host.role("audit-ingest")).unwrap()
    });
    let batch = |at: &str| {
        format!(
            "select cursor_segment from vctl.ingest_v1(gen_random_uuid(), gen_random_uuid(), '1', gen_random_uuid(), \
             '{{1,0,0}}', '{{2,0,0}}', '{{}}', '{{}}', '{{}}', array[gen_random_uuid()], array[1::bigint], array[{at}], \
             array[0::bigint], array[1::smallint], array[1], array[1], array[1::bigint], array[0], array['a'::bytea], \
             array['a'::bytea], array['a'::bytea], array['a'::bytea], array['a'::bytea])"
        )
    };
    let days = [
        "now() - interval '25 days'",
        "now() - interval '1 day'",
        "now() + interval '1 day'",
    ];
    let days = days.map(batch).join("; ");
    let held = Held::new(
        centre,
        &holds,
        &format!("set idle_in_transaction_session_timeout = 0; begin; {days}"),
    );
    let sql = format!(
        "set statement_timeout = '8s'; {}",
        batch("now() - interval '24 days'")
    );
    let stored = centre.postgres.psql_as(ingests.login(), &sql).unwrap();
    assert_eq!(stored, "2");
    let pruner = centre.bao.admin().unwrap().credential("vctl-pruner");
    let days = "set statement_timeout = '8s'; select vctl.prepare_days_v1(14)";
    let pruner = pruner.unwrap();
    centre.postgres.psql_as(pruner.login(), days).unwrap();
    drop(held);
}
