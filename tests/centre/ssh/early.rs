//! A connection that begins from cached hosts, before the lookup: what the cached host sees when the lookup returns
//! something else.

use std::time::{Duration, Instant};

use serde_json::Value;
use vctl_tests::centre::{Centre, DATABASE, FarServers, Host, Options};
use vctl_tests::fixture::await_that;

use super::{Operator, shared};

/// Returns the connections that sshd has seen.
fn connections(host: &Host) -> usize {
    host.log().matches("Connection closed by").count()
}

/// Waits until sshd has seen the end of a connection, and checks that no user tried to log in on it.
fn saw_only_a_connection(host: &Host) {
    await_that("sshd sees a connection", || connections(host) > 0);
    let log = host.log();
    // sshd names the user in each of these lines.
    for sign in [
        "authenticating",
        "Accepted",
        "Failed",
        "invalid user",
        "user=",
    ] {
        assert!(!log.contains(sign), "`{sign}`: {log}");
    }
}

fn own_centre() -> Option<Centre> {
    Centre::or_skip(&Options {
        host: true,
        ..Options::default()
    })
}

fn results(rows: &[Value]) -> Vec<(&str, Option<&str>)> {
    let result = |row| -> (&str, Option<&str>) {
        let row: &Value = row;
        (row["result"].as_str().unwrap(), row["error"].as_str())
    };
    rows.iter().map(result).collect()
}

#[test]
fn a_moved_host_is_reached_and_its_old_address_gets_nothing() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-moved");
    let host = centre.host.as_ref().unwrap();
    let old = centre.another_host("moved-old").unwrap();
    operator.knows("moved-1", &old);
    operator.remembers(&format!("moved-1 {}\n", host.public_key()));
    assert_eq!(operator.at.run(&["list"]).code, 0);
    let sql = format!(
        "update vctl.servers set ssh_port = {}, ssh_user = '{}' where hostname = 'moved-1'",
        host.port(),
        host.user()
    );
    centre.postgres.psql(DATABASE, &sql).unwrap();

    let said = operator.ssh(&["moved-1", "--", "exit 4"]);
    assert_eq!((said.code, &*said.stderr), (4, ""), "{said:?}");
    saw_only_a_connection(&old);
    let before = connections(&old);
    let rows = operator.accesses("moved-1");
    let changed =
        "the inventory differs from the hosts cached on this machine; vctl connects again";
    assert_eq!(results(&rows), [("failed", Some(changed)), ("ok", None)]);
    assert_eq!(rows[0]["target_port"], old.port());
    assert_eq!(rows[1]["target_port"], host.port());

    // The cache has the new address now.
    assert_eq!(operator.ssh(&["moved-1", "--", "exit 5"]).code, 5);
    assert_eq!(operator.accesses("moved-1").len(), 3);
    assert_eq!(connections(&old), before, "{}", old.log());
}

#[test]
fn a_row_on_this_machine_is_no_answer_of_the_lookup() {
    // The lock below would hold up all specs of a shared centre.
    let Some(centre) = own_centre() else { return };
    let operator = Operator::new(&centre, "ssh-slow-lookup");
    let host = centre.host.as_ref().unwrap();
    let old = centre.another_host("slow-lookup-old").unwrap();
    operator.knows("slow-lookup-1", &old);
    operator.remembers(&format!("slow-lookup-1 {}\n", host.public_key()));
    assert_eq!(operator.at.run(&["list"]).code, 0);
    let moved = format!(
        "update vctl.servers set ssh_port = {}, ssh_user = '{}' where hostname = 'slow-lookup-1'",
        host.port(),
        host.user()
    );
    centre.postgres.psql(DATABASE, &moved).unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        // Longer than the wait for the row, which is then stored on this machine, and shorter than that of the lookup.
        let lock = "begin; lock table vctl.servers; select pg_sleep(7); commit";
        let locked = scope.spawn(|| centre.postgres.psql(DATABASE, lock));
        await_that("the lookup cannot read", || {
            let waits = "select count(*) > 0 from pg_locks where relation = 'vctl.servers'::regclass \
                         and mode = 'AccessExclusiveLock' and granted";
            centre.postgres.psql(DATABASE, waits).unwrap() == "t"
        });
        let said = operator.ssh(&["slow-lookup-1", "--", "exit 4"]);
        assert_eq!(said.code, 4, "{said:?}");
        locked.join().unwrap().unwrap();
    });
    assert!(begun.elapsed() > Duration::from_secs(6));
    saw_only_a_connection(&old);
}

#[test]
fn another_user_in_the_inventory_is_never_logged_in_before() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-other-user");
    let host = centre.another_host("other-user").unwrap();
    operator.inventory("other-user-1", "127.0.0.1", host.port(), "early-wrong");
    operator.remembers(&format!("other-user-1 {}\n", host.public_key()));
    assert_eq!(operator.at.run(&["list"]).code, 0);
    let sql = format!(
        "update vctl.servers set ssh_user = '{}' where hostname = 'other-user-1'",
        host.user()
    );
    centre.postgres.psql(DATABASE, &sql).unwrap();
    for _ in 0..2 {
        assert_eq!(operator.ssh(&["other-user-1", "--", "true"]).code, 0);
    }
    assert!(!host.log().contains("early-wrong"), "{}", host.log());
}

#[test]
fn a_deleted_host_gets_no_login() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-deleted");
    let host = centre.another_host("deleted").unwrap();
    operator.knows("deleted-2", &host);
    operator.knows("deleted-1", &host);
    assert_eq!(operator.at.run(&["list"]).code, 0);
    let sql = "delete from vctl.servers where hostname like 'deleted-_'";
    centre.postgres.psql(DATABASE, sql).unwrap();
    let said = operator.ssh(&["deleted-1", "--", "true"]);
    assert_eq!(said.code, 66, "{said:?}");
    saw_only_a_connection(&host);
    let rows = operator.accesses("deleted-1");
    assert!(rows.iter().all(|row| row["result"] == "failed"), "{rows:?}");
    // The cache no longer has it, so the second attempt does not even connect.
    let before = connections(&host);
    assert_eq!(operator.ssh(&["deleted-1", "--", "true"]).code, 66);
    assert_eq!(connections(&host), before, "{}", host.log());
}

#[test]
fn a_refused_user_connects_at_most_once_after_the_refusal() {
    let Some(centre) = own_centre() else { return };
    let operator = Operator::new(&centre, "ssh-refused-early");
    let host = centre.another_host("refused-early").unwrap();
    operator.knows("refused-early-1", &host);
    assert_eq!(operator.at.run(&["list"]).code, 0);
    let sql = "delete from vctl.rbac_grants";
    centre.postgres.psql(DATABASE, sql).unwrap();

    let said = operator.ssh(&["refused-early-1", "--", "true"]);
    assert_eq!(said.code, 77, "{said:?}");
    saw_only_a_connection(&host);
    let before = connections(&host);
    let rows = operator.accesses("refused-early-1");
    assert!(!rows.is_empty());
    assert!(
        rows.iter().all(|row| row["result"] == "refused"),
        "{rows:?}"
    );
    // The refusal is cached.
    assert_eq!(operator.ssh(&["refused-early-1", "--", "true"]).code, 77);
    assert_eq!(connections(&host), before, "{}", host.log());
}

/// The server that stalls.
#[derive(Clone, Copy)]
enum Stalled {
    Vault,
    Postgres,
    Sshd,
}

/// Runs `vctl ssh` twice: near, to fill the caches, and while a server passes nothing on. Returns the exit status, the
/// messages and the time of the second run.
fn ssh_during_a_stall(centre: &Centre, stalled: Stalled) -> (Option<i32>, String, Duration) {
    let name = match stalled {
        Stalled::Vault => "stall-vault",
        Stalled::Postgres => "stall-postgres",
        Stalled::Sshd => "stall-sshd",
    };
    let far = FarServers::start(centre, Duration::from_millis(2)).unwrap();
    let operator = Operator::new(centre, name);
    let host = centre.host.as_ref().unwrap();
    operator.inventory(name, "127.0.0.1", far.ssh_port(), host.user());
    operator.remembers(&format!("{name} {}\n", host.public_key()));
    // A token is for one address of Vault.
    let environment = far.environment();
    let settings = |(setting, _): &(&str, String)| match stalled {
        Stalled::Vault => true,
        _ => !setting.ends_with("VAULT_ADDR"),
    };
    let environment: Vec<_> = environment.into_iter().filter(settings).collect();
    if matches!(stalled, Stalled::Vault) {
        operator.log_in_with(&environment);
    }
    let run = |args: &[&str]| {
        let begun = Instant::now();
        let mut command = operator.at.command(args);
        let output = command.envs(environment.clone()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said, begun.elapsed())
    };
    assert_eq!(run(&["list"]).0, Some(0));
    let ssh = ["ssh", "-q", name, "--", "exit 3"];
    assert_eq!(run(&ssh).0, Some(3));
    match stalled {
        Stalled::Vault => far.vault.stall(STALL),
        Stalled::Postgres => far.postgres.stall(STALL),
        Stalled::Sshd => far.sshd.stall(STALL),
    }
    run(&ssh)
}

const STALL: Duration = Duration::from_secs(20);

#[test]
fn a_server_that_stalls_is_given_up_or_replaced_in_time() {
    let Some(centre) = shared() else { return };
    std::thread::scope(|scope| {
        let stall = |stalled| scope.spawn(move || ssh_during_a_stall(centre, stalled));
        let [vault, postgres, sshd] = [Stalled::Vault, Stalled::Postgres, Stalled::Sshd].map(stall);
        let (code, said, took) = sshd.join().unwrap();
        assert_eq!(code, Some(255), "{said}");
        assert!(said.contains("did not complete within 15 s"), "{said}");
        assert!(took < STALL, "{took:?}");
        let (code, said, took) = postgres.join().unwrap();
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("using the hosts cached"), "{said}");
        assert!(took < STALL, "{took:?}");
        let (code, said, took) = vault.join().unwrap();
        assert_eq!(code, Some(69), "{said}");
        assert!(said.contains("Vault"), "{said}");
        assert!(took < STALL, "{took:?}");
    });
}
