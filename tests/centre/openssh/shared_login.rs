//! Parallel connections share a database login: Ansible opens 50 at once, and keeps them open.

use std::fs::File;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use vctl_tests::centre::DATABASE;
use vctl_tests::lab::eventually;

use super::{Desk, PATIENCE, shared};
use crate::login::Said;

const AT_ONCE: usize = 50;
const NAME: &str = "ossh-crowd";

#[test]
fn fifty_proxies_share_at_most_four_logins() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, NAME);
    let host = centre.another_host(NAME).unwrap();
    desk.operator.knows("ossh-crowd-1", &host);
    desk.install();
    let before = created();
    let mut children: Vec<Child> = (0..AT_ONCE)
        .map(|_| {
            let mut command = desk.command("ssh", &["ossh-crowd-1", "true"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut most = 0;
    let sql =
        format!("select count(*) from pg_stat_activity where usename like '%/userpass-{NAME}~%'");
    let ended = || {
        let connections: usize = centre.postgres.psql(DATABASE, &sql)?.parse()?;
        most = most.max(connections);
        let ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        Ok(children.iter_mut().all(ended))
    };
    assert!(eventually(4 * PATIENCE, ended).unwrap());
    for child in children {
        let said: Said = child.wait_with_output().unwrap().into();
        // On a busy machine a proxy may go on with the cached hosts, and says so.
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert!((1..=64).contains(&most), "{most} connections");
    // One row for each, by this person, each with the serial that the host saw.
    desk.recorded("ossh-crowd-1", &host, AT_ONCE);
    let logins = created() - before;
    assert!((1..=4).contains(&logins), "{logins} logins");
}

/// Hosts, and connections that are made at the same time, as by Ansible with `forks = 10`.
const HOSTS: usize = 60;
const FORKS: usize = 10;

/// Much less than `ControlPersist`.
const SOON: Duration = Duration::from_secs(10);

#[test]
fn idle_masters_keep_no_connection_to_postgres() {
    const NAME: &str = "ossh-idle";
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, NAME);
    let host = centre.another_host(NAME).unwrap();
    desk.operator.knows("ossh-idle-1", &host);
    desk.install();
    let log = File::create(desk.home("log")).unwrap();
    // A path of its own for each: as many masters as hosts.
    let ssh = |number: usize, args: &[&str]| {
        let path = format!(
            "-oControlPath={}",
            desk.home(&format!("m{number}")).display()
        );
        let mut command = desk.command("ssh", &[&[path.as_str()], args].concat());
        // No pipe: the masters would keep it open.
        command
            .stdout(Stdio::null())
            .stderr(log.try_clone().unwrap());
        command.status().unwrap().code()
    };
    let connect = |number| {
        let master = [
            "-oControlMaster=auto",
            "-oControlPersist=120s",
            "-oConnectTimeout=10",
        ];
        ssh(number, &[&master[..], &["ossh-idle-1", "true"]].concat())
    };
    let said = || std::fs::read_to_string(desk.home("log")).unwrap();
    thread::scope(|scope| {
        let of_fork = |fork| (fork..HOSTS).step_by(FORKS).map(connect).collect();
        let forks =
            (0..FORKS).map(|fork| scope.spawn(move || -> Vec<Option<i32>> { of_fork(fork) }));
        let forks: Vec<_> = forks.collect();
        for fork in forks {
            let codes = fork.join().unwrap();
            assert!(
                codes.iter().all(|code| *code == Some(0)),
                "{codes:?} {}",
                said()
            );
        }
    });
    let sql = format!(
        "select count(*) from pg_stat_activity where usename like 'audit-wr/userpass-{NAME}~%'"
    );
    let closed = || Ok(centre.postgres.psql(DATABASE, &sql)? == "0");
    assert!(eventually(SOON, closed).unwrap(), "{}", said());
    let of_masters = |operation| {
        let codes = (0..HOSTS).map(|number| ssh(number, &["-O", operation, "ossh-idle-1"]));
        codes.filter(|code| *code == Some(0)).count()
    };
    assert_eq!(of_masters("check"), HOSTS, "{}", said());
    // All of them end at once, and each row gets its end.
    assert_eq!(of_masters("exit"), HOSTS, "{}", said());
    desk.recorded("ossh-idle-1", &host, HOSTS);
}

/// Returns the number of logins that this user has. None of them ends meanwhile.
fn created() -> usize {
    let sql = format!("select count(*) from pg_roles where rolname like '%/userpass-{NAME}~%'");
    let count = shared().unwrap().postgres.psql(DATABASE, &sql).unwrap();
    count.parse().unwrap()
}
