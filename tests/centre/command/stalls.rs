//! A server that stalls for 20 seconds, in the middle of what commands do with a shared database login. Each command ends
//! before that, with the result or with an error that names the server.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use vctl_tests::centre::{Centre, DATABASE, FarServers};

use crate::login::{Said, Workstation, person};
use crate::ssh::shared;

const ROUND_TRIP: Duration = Duration::from_millis(10);
const STALL: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
enum Stalled {
    Vault,
    Postgres,
}

/// A command, its status, and a part of what it says.
const CASES: [(Stalled, &[&str], i32, &str); 7] = [
    (Stalled::Postgres, &["list"], 0, "using the hosts cached"),
    (Stalled::Postgres, &["audit"], 69, "Postgres"),
    (Stalled::Postgres, &["session", "--list"], 69, "Postgres"),
    (Stalled::Postgres, &["status"], 69, "Postgres"),
    (Stalled::Postgres, &["logout"], 0, "logged out"),
    (Stalled::Vault, &["token"], 0, ""),
    (
        Stalled::Vault,
        &["logout"],
        0,
        "could not be revoked in Vault",
    ),
];

#[test]
fn no_command_waits_for_the_end_of_a_stall() {
    let Some(centre) = shared() else { return };
    // An empty inventory is not cached.
    let sql =
        "insert into vctl.servers (hostname, ip, ssh_user) values ('stalled', '192.0.2.1', 'root')";
    centre.postgres.psql(DATABASE, sql).unwrap();
    let wrong: Vec<_> = thread::scope(|scope| {
        let cases: Vec<_> = (0..)
            .zip(CASES)
            .map(|(number, case)| scope.spawn(move || during_a_stall(centre, number, case)))
            .collect();
        cases
            .into_iter()
            .filter_map(|case| case.join().unwrap())
            .collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Returns what is wrong about a command that meets a stall.
fn during_a_stall(
    centre: &Centre,
    number: usize,
    (stalled, args, code, part): (Stalled, &[&str], i32, &str),
) -> Option<String> {
    let name = format!("stall-{number}");
    let password = person(centre, &name, 3600, 7200);
    let policies = json!({"policies": ["vctl-user", "vctl-ssh", "vctl-auditor"]});
    let admin = centre.bao.admin().unwrap();
    admin
        .post(&format!("auth/userpass/users/{name}"), &policies)
        .unwrap();
    let at = Workstation::new(centre);
    let far = FarServers::start(centre, ROUND_TRIP).unwrap();
    let run = |args: &[&str], input: Stdio| -> Said {
        let mut command = at.command(args);
        command.envs(far.environment()).stdin(input);
        command.output().unwrap().into()
    };
    let file = at.home("password");
    std::fs::write(&file, password).unwrap();
    let given = std::fs::File::open(&file).unwrap().into();
    let said = run(&["login", "--username", &name, "--password-stdin"], given);
    assert_eq!(said.code, 0, "{said:?}");
    // Leaves the database logins, and what is known about the server.
    for args in [&["list"][..], &["audit"]] {
        let said = run(args, Stdio::null());
        assert_eq!(said.code, 0, "{said:?}");
    }
    match stalled {
        Stalled::Vault => far.vault.stall(STALL),
        Stalled::Postgres => far.postgres.stall(STALL),
    }
    let begun = Instant::now();
    let said = run(args, Stdio::null());
    let took = begun.elapsed();
    let is_right = said.code == code
        && took < STALL
        && (said.stderr.contains(part) || said.stdout.contains(part));
    (!is_right).then(|| format!("{stalled:?} {args:?} took {took:?}: {said:?}"))
}
