//! vctl measures the wrong clock of a host, and shows it where it matters.

use serde_json::Value;
use vctl_tests::centre::{Centre, DATABASE};

use crate::fixture::programs::{node, stderr, stdout, vctl};
use crate::ssh::{Operator, shared};

const DB: &str = "clocks";

#[test]
fn a_heartbeat_brings_the_clock_and_fleet_judges_it() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("clock-1").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let output = node(centre, &host, directory.path(), &["--once"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let offset = "select clock_offset_s between -10 and 1 from vctl.server_status where hostname = 'clock-1'";
    assert_eq!(centre.postgres.psql(DATABASE, offset).unwrap(), "t");

    centre.create_database_with_schema(DB).unwrap();
    // Both limits, in both directions, a difference of a day, and an agent that does not report its clock.
    let clocks = [
        ("ahead", "10800", "clock 3h00m ahead"),
        ("behind", "-30", "clock 30s behind"),
        ("day", "-86400", "clock 1d00h behind"),
        ("nearly", "29.4", "ok"),
        ("nothing", "null", "ok"),
    ];
    for (name, offset, _) in clocks {
        let sql = format!(
            "insert into vctl.servers (hostname, ip) values ('{name}', '10.0.0.1');
             insert into vctl.server_status (hostname, agent_version, collector_up, reported_at, clock_offset_s)
             values ('{name}', '0.1.0', true, now(), {offset})"
        );
        centre.postgres.psql(DB, &sql).unwrap();
    }
    let person = centre.person("clock-reader", &["vctl-user"]).unwrap();
    let output = vctl(centre, &person, DB, &["fleet", "-o", "json"])
        .output()
        .unwrap();
    let fleet: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let hosts = fleet["hosts"].as_array().unwrap();
    for (name, offset, state) in clocks {
        let host = hosts.iter().find(|host| host["hostname"] == name).unwrap();
        assert_eq!(host["state"], state, "{host:#}");
        assert_eq!(host["healthy"], state == "ok", "{host:#}");
        let rounded = offset.parse::<f64>().ok().map(f64::round);
        assert_eq!(host["clock_offset_s"].as_f64(), rounded, "{host:#}");
    }
}

#[test]
fn a_refused_certificate_names_the_clock_that_was_measured() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-clock");
    let host = centre.another_host("clock").unwrap();
    host.trust_nobody().unwrap();
    operator.knows("wrong-clock-1", &host);
    for (offset, said) in [("-600", "10m00s behind"), ("86400", "1d00h ahead")] {
        let sql = format!(
            "insert into vctl.server_status (hostname, agent_version, reported_at, clock_offset_s)
             values ('wrong-clock-1', '0.1.0', now(), {offset})
             on conflict (hostname) do update set clock_offset_s = excluded.clock_offset_s"
        );
        centre.postgres.psql(DATABASE, &sql).unwrap();
        let refused = operator
            .at
            .run(&["ssh", "-q", "wrong-clock-1", "--", "true"]);
        assert_eq!(refused.code, 77, "{refused:?}");
        assert!(
            refused.stderr.contains("the clock of `wrong-clock-1` was")
                && refused.stderr.contains(said),
            "{}",
            refused.stderr
        );
    }
}
