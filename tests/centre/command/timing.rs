//! `--debug-timing` shows the duration of all phases.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Output;
use std::time::{Duration, Instant};

use vctl_tests::centre::{Centre, Client, DATABASE};

use crate::fixture::programs::{stderr, vctl};

/// Runs a command. Returns the milliseconds of each phase, and the total time measured by the spec.
fn timed(
    centre: &Centre,
    client: &Client,
    changes: &[(&str, &str)],
    args: &[&str],
) -> (BTreeMap<String, f64>, f64, Output) {
    let start = Instant::now();
    let mut command = vctl(centre, client, DATABASE, args);
    let output = command.envs(changes.iter().copied()).output().unwrap();
    let wall = start.elapsed().as_secs_f64() * 1000.0;
    let said = stderr(&output);
    let lines = said
        .lines()
        .filter_map(|line| line.strip_prefix("timing: "));
    let phases = lines.map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap().to_owned();
        (name, words.next().unwrap().parse().unwrap())
    });
    (phases.collect(), wall, output)
}

#[test]
fn the_phases_and_the_rest_are_all_of_the_time() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre
        .person("timed", &["vctl-user", "vctl-auditor"])
        .unwrap();
    for args in [
        &["fleet"][..],
        &["audit"],
        &["session"],
        &["status"],
        &["doctor"],
    ] {
        let args = [args, &["--debug-timing"]].concat();
        let (mut phases, wall, output) = timed(centre, &person, &[], &args);
        let total = phases
            .remove("total")
            .unwrap_or_else(|| panic!("{}", stderr(&output)));
        assert_eq!(phases.len(), 6, "{phases:?}");
        let sum: f64 = phases.values().sum();
        assert!((sum - total).abs() < 0.01, "{phases:?} are not {total}");
        assert!(total <= wall, "{total} of {wall}");
        for phase in ["credential", "connect", "query"] {
            assert!(phases[phase] > 0.0, "{args:?}: {phases:?}");
        }
        // Vault needs tens of milliseconds for a login. The output itself takes almost no time.
        assert!(
            phases["credential"] > phases["render"],
            "{args:?}: {phases:?}"
        );
    }
    let (phases, _, output) = timed(centre, &person, &[], &["fleet"]);
    assert!(phases.is_empty() && output.status.success());
}

#[test]
fn timing_names_the_slow_server_also_on_failure() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre.person("slowed", &["vctl-user"]).unwrap();
    let slow = Duration::from_millis(700);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8]);
            std::thread::sleep(slow);
            let _ = stream.write_all(b"N");
        }
    });
    let changes = [("VCTL_DB_PORT", port.as_str())];
    let (phases, _, output) = timed(centre, &person, &changes, &["--debug-timing", "fleet"]);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    // vctl fetches the credential while it connects, so these two phases share the slow connection.
    let waited = phases["connect"] + phases["credential"];
    assert!(waited >= 700.0, "{phases:?}");
    assert!(phases["connect"] > phases["rest"], "{phases:?}");
}
