//! `vctl fleet` lists silent hosts and hosts with losses first, and `--check` fails.

use serde_json::Value;
use vctl_tests::centre::Centre;

use crate::fixture::programs::{stderr, stdout, vctl};

const DB: &str = "fleet";

#[test]
fn faulty_hosts_come_first_and_fail_the_check() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    centre.create_database_with_schema(DB).unwrap();
    let sql = |sql: &str| centre.postgres.psql(DB, sql).unwrap();
    for name in [
        "absent", "expected", "lossy", "never", "retired", "silent", "twins", "well",
    ] {
        sql(&format!(
            "insert into vctl.servers (hostname, ip) values ('{name}', '10.0.0.1')"
        ));
    }
    sql("update vctl.servers set state = 'retired' where hostname = 'retired'");
    sql(
        "update vctl.servers set enrolled_at = now() - interval '61 minutes' where hostname in ('absent', 'well')",
    );
    sql(
        "update vctl.servers set enrolled_at = now() - interval '50 minutes' where hostname = 'expected'",
    );
    sql("insert into vctl.server_status (hostname, agent_version, collector_up, events_lost, reported_at) values
         ('well', '0.1.0', true, 0, now()), ('twins', '0.1.0', true, 0, now()),
         ('lossy', '0.1.0', true, 12, now()), ('silent', '0.1.0', true, 0, now() - interval '11 minutes')");
    sql("insert into vctl.audit_host (hostname) values ('twins'), ('well')");
    sql("insert into vctl.ingest_machine (host_id, machine_id, boot_id, agent_version, address, last_seen)
         select id, gen_random_uuid(), gen_random_uuid(), '0.1.0', address::inet, now() - age::interval
         from vctl.audit_host h join (values ('twins', '10.0.0.1', '1 minute'), ('twins', '10.0.0.9', '9 minutes'),
             ('well', '10.0.0.2', '1 minute'), ('well', '10.0.0.3', '11 minutes')) m (hostname, address, age)
             using (hostname)");
    // Every user may read this command: it shows no events.
    let person = centre.person("fleet-reader", &["vctl-user"]).unwrap();
    let run = |args: &[&str]| vctl(centre, &person, DB, args).output().unwrap();

    let output = run(&["fleet", "-o", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let fleet: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let hosts = fleet["hosts"].as_array().unwrap();
    let names: Vec<_> = hosts
        .iter()
        .map(|h| h["hostname"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "twins", "absent", "silent", "lossy", "well", "expected", "never"
        ]
    );
    let states: Vec<_> = hosts.iter().map(|h| h["state"].as_str().unwrap()).collect();
    // The texts agree with the numbers next to them, no matter how long the spec took.
    let silent_s = hosts[2]["heartbeat_age_s"].as_u64().unwrap();
    assert!(silent_s >= 11 * 60, "{fleet:#}");
    let silent = format!("silent for {}m{:02}s", silent_s / 60, silent_s % 60);
    let (enrolled, never) = states[1].split_once(" ago, ").unwrap();
    assert!(enrolled.starts_with("enrolled 1h"), "{fleet:#}");
    assert_eq!(never, "never reported");
    assert_eq!(states[0], "2 machines");
    assert_eq!(
        states[2..],
        [&*silent, "lost 12", "ok", "no agent", "no agent"]
    );
    let machines = hosts[0]["machines"].to_string();
    assert!(machines.contains("at 10.0.0.1") && machines.contains("at 10.0.0.9"));

    let unhealthy = stdout(&run(&["fleet", "--unhealthy"]));
    assert!(
        unhealthy.contains("twins") && !unhealthy.contains("no agent"),
        "{unhealthy}"
    );

    let check = run(&["fleet", "--check"]);
    assert_eq!(
        (check.status.code(), stdout(&check)),
        (Some(1), String::new())
    );
    let said = stderr(&check);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("4 of 7 hosts need attention: twins (2 machines); absent (enrolled "),
        "{said}"
    );

    sql("delete from vctl.servers where hostname in ('absent', 'silent', 'lossy', 'twins')");
    let check = run(&["fleet", "--check"]);
    assert!(check.status.success(), "{}", stderr(&check));
    assert_eq!(
        (stdout(&check), stderr(&check)),
        (String::new(), String::new())
    );
}
