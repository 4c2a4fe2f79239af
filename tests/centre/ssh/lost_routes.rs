//! Two routes to a host begin, and the direct one is faster: the access of the other one has a row with an end, and so has
//! each certificate that Vault signed for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use vctl_tests::centre::Centre;
use vctl_tests::delay_line::DelayLine;

use super::{Operator, shared};

/// Round trips to each server. The route through the jump host begins 300 ms after the direct one.
struct RoundTrips {
    vault: u64,
    postgres: u64,
    target: u64,
}

/// Runs `vctl ssh` on a host behind a jump host, so that the direct route wins. Returns the rows of the run.
fn rows_after_a_race(centre: &Centre, name: &str, round_trips: &RoundTrips) -> Vec<Value> {
    let operator = Operator::new(centre, name);
    let line = |port, round_trip| {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        DelayLine::start(server, Duration::from_millis(round_trip)).unwrap()
    };
    let host = centre.host.as_ref().unwrap();
    let jump = format!("{name}-jump");
    let vault = line(centre.bao.port, round_trips.vault);
    let postgres = line(centre.postgres.port, round_trips.postgres);
    let target = line(host.port(), round_trips.target);
    operator.inventory(name, "127.0.0.1", target.port(), host.user());
    operator.inventory(&jump, "127.0.0.1", host.port(), host.user());
    let key = host.public_key();
    operator.remembers(&format!("{name} {key}\n{jump} {key}\n"));
    operator.jumps(name, &jump);
    let mut environment = centre.environment();
    for (setting, value) in &mut environment {
        match *setting {
            "VAULT_ADDR" | "VCTL_VAULT_ADDR" => {
                *value = format!("https://127.0.0.1:{}", vault.port());
            }
            "VCTL_DB_PORT" => *value = postgres.port().to_string(),
            _ => {}
        }
    }
    operator.log_in_with(&environment);
    let mut command = operator.command(&[name, "--", "exit 3"]);
    let output = command.envs(environment).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let rows = operator.accesses(name);
    operator.may("vctl-auditor");
    assert_verified(centre, &operator, name);
    rows
}

/// Checks that `vctl audit verify` finds a row for each certificate of this user.
fn assert_verified(centre: &Centre, operator: &Operator<'_>, name: &str) {
    let log = centre.bao.audit_log();
    let args = ["audit", "verify", "--margin", "0s", "-o", "json"];
    let log = ["--audit-log", log.to_str().unwrap()];
    let said = operator.at.run(&[&args[..], &log].concat());
    let document: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    let person = format!("userpass-{name}");
    let exceptions = document["exceptions"].as_array().unwrap();
    let ours = exceptions.iter().find(|one| one["person"] == *person);
    assert_eq!(ours, None, "{ours:#?}");
}

fn assert_one_ended_and_one_lost(rows: &[Value], jump: &str) {
    let ends: Vec<_> = rows
        .iter()
        .map(|row| (row["result"].as_str(), row["jump_via"].clone()))
        .collect();
    let direct = (Some("ok"), serde_json::json!([]));
    let lost = (Some("closed"), serde_json::json!([jump]));
    assert_eq!(ends, [direct, lost], "{rows:#?}");
    assert_eq!(rows[1]["error"], "another route to the host was faster");
}

#[test]
fn a_row_that_was_being_written_gets_an_end() {
    let Some(centre) = shared() else { return };
    let name = "ssh-lost-row";
    let slow_row = RoundTrips {
        vault: 0,
        postgres: 700,
        target: 200,
    };
    let rows = rows_after_a_race(centre, name, &slow_row);
    assert_one_ended_and_one_lost(&rows, &format!("{name}-jump"));
}

#[test]
fn a_certificate_that_was_being_signed_gets_a_row() {
    let Some(centre) = shared() else { return };
    let name = "ssh-lost-signature";
    let slow_signature = RoundTrips {
        vault: 400,
        postgres: 0,
        target: 180,
    };
    let rows = rows_after_a_race(centre, name, &slow_signature);
    assert_one_ended_and_one_lost(&rows, &format!("{name}-jump"));
}

#[test]
fn both_routes_use_one_certificate_of_the_target() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-one-signature");
    operator.may("vctl-auditor");
    let host = centre.host.as_ref().unwrap();
    let jump = "ssh-one-jump";
    operator.inventory("ssh-one", "127.0.0.1", 1, host.user());
    operator.knows(jump, host);
    operator.jumps("ssh-one", jump);
    let said = operator.ssh(&["ssh-one", "--", "true"]);
    assert_eq!(said.code, 255, "{said:?}");
    let rows = operator.accesses("ssh-one");
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0]["result"], "failed");
    assert_verified(centre, &operator, "ssh-one-signature");
}
