//! Logins whose leases are too short for another command: each command creates its own, and waits for no other.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vctl_tests::centre::{Centre, FarServers, Options};
use vctl_tests::pool_fixture::database_ttl;

use super::User;
use crate::login::{Said, Workstation, give, person};

const COMMANDS: u32 = 4;

/// Time without an answer of Vault: less than vctl waits for one.
const STALL: Duration = Duration::from_secs(8);

#[test]
fn logins_with_short_leases_are_created_at_the_same_time() {
    let options = Options {
        host: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let servers = FarServers::start(&centre, Duration::ZERO).unwrap();
    let user = User {
        at: Workstation::new(&centre),
        name: "dbl-short",
        password: person(&centre, "dbl-short", 3600, 7200),
    };
    let command = |args: &[&str]| -> Command {
        let mut command = user.at.command(args);
        command.envs(servers.environment());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let login = command(&["login", "--username", user.name, "--password-stdin"]);
    let said = give(login, &user.password);
    assert_eq!(said.code, 0, "{said:?}");
    let list = || {
        let said: Said = command(&["list"]).output().unwrap().into();
        assert_eq!(said.code, 0, "{said:?}");
    };
    database_ttl(&centre, 60);
    list();
    assert_eq!(user.files(), 0);
    servers.take();
    // Vault creates no login meanwhile, so each connection is the wait of another command for its own.
    servers.vault.stall(STALL);
    let begun = Instant::now();
    let start = || command(&["list"]).spawn().unwrap();
    let children: Vec<Child> = (0..COMMANDS).map(|_| start()).collect();
    let mut waiting = 0;
    while waiting < COMMANDS && begun.elapsed() < STALL.mul_f64(0.9) {
        waiting += servers.vault.take().connections;
        thread::sleep(Duration::from_millis(20));
    }
    for child in children {
        let said: Said = child.wait_with_output().unwrap().into();
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert!(waiting >= COMMANDS, "{waiting} at the same time");
    user.await_logins(0);
    // With longer leases, the commands share a login again.
    database_ttl(&centre, 3600);
    for _ in 0..3 {
        list();
    }
    assert_eq!((user.files(), user.logins()), (1, 1));
}
