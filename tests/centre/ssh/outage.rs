//! While Postgres is away, vctl stores accesses on the workstation. It writes them to Postgres later.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::centre::{Centre, Options};

use super::Operator;

#[test]
fn an_access_during_an_outage_is_recorded_once() {
    let options = Options {
        host: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let operator = Operator::new(&centre, "ssh-outage");
    let host = centre.host.as_ref().unwrap();
    operator.knows("outage-1", host);
    let name = format!("[127.0.0.1]:{}", host.port());
    operator.remembers(&format!("{name} {}\n", host.public_key()));
    let at = format!("{}@127.0.0.1:{}", host.user(), host.port());
    let spooled = || {
        let entries = fs::read_dir(operator.at.home(".vctl/spool"));
        entries.map_or(0, Iterator::count)
    };

    centre.postgres.kill().unwrap();
    // The inventory was never read, so vctl cannot resolve a name. An address still works.
    assert_eq!(operator.ssh(&["outage-1", "--", "true"]).code, 69);
    let said = operator.ssh(&[&at, "--", "exit 3"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert_eq!(spooled(), 1);
    // Another vctl process does not write the row of an access that is still running.
    let mut child = operator.start(&[&at, "--", "echo up; cat"]);
    let mut up = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
    assert_eq!(spooled(), 2);
    // This state remains if vctl dies after the commit and before it deletes its stored row.
    let died = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &Path| {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copy(&operator.at.home(".vctl/spool"), died.path());
    centre.postgres.start().unwrap();

    assert_eq!(operator.ssh(&["outage-1", "--", "true"]).code, 0);
    let rows = operator.accesses(&name);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(
        (&row["replayed"], &row["exit_code"]),
        (&true.into(), &3.into())
    );
    let time = |name: &str| row[name].as_str().unwrap().to_owned();
    assert!(time("opened_at") <= time("closed_at") && time("closed_at") < time("recorded_at"));
    let serial = row["cert_serial"].to_string();
    assert!(
        host.log().contains(&format!("(serial {serial})")),
        "{serial}"
    );
    assert_eq!(spooled(), 1);

    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // The vctl process of the access writes its row at its end, or the next vctl run writes it. Each row is written
    // once.
    assert_eq!(operator.ssh(&["outage-1", "--", "true"]).code, 0);
    assert_eq!(spooled(), 0);
    let rows = operator.accesses(&name);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(
        (&rows[1]["replayed"], &rows[1]["exit_code"]),
        (&true.into(), &0.into())
    );

    copy(died.path(), &operator.at.home(".vctl/spool"));
    assert_eq!(operator.ssh(&["outage-1", "--", "true"]).code, 0);
    assert_eq!(spooled(), 0);
    assert_eq!(operator.accesses(&name), rows);
}

#[test]
fn cached_routes_work_while_postgres_is_down() {
    let options = Options {
        host: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let operator = Operator::new(&centre, "ssh-kept");
    let host = centre.host.as_ref().unwrap();
    operator.knows("kept-jump", host);
    operator.knows("kept-web", host);
    operator.jumps("kept-web", "kept-jump");
    assert_eq!(operator.at.run(&["list"]).code, 0);
    centre.postgres.kill().unwrap();

    // A part of a name is not enough without a terminal.
    let said = operator.ssh(&["t-web", "--", "true"]);
    assert_eq!(said.code, 66, "{said:?}");
    for wanted in [&["kept-web"][..], &["KEPT-WEB"], &["--server", "kept-web"]] {
        let said = operator.ssh(&[wanted, &["--", "exit 3"]].concat());
        assert_eq!(said.code, 3, "{said:?}");
        assert!(said.stderr.contains("using the hosts cached"), "{said:?}");
    }
    // Both hosts have this address, and vctl does not ask the user to choose.
    let said = operator.ssh(&["--server", "127.0.0.1", "--", "true"]);
    assert_eq!(said.code, 66, "{said:?}");
    let mut terminal = operator.before_a_person(&["kept", "--", "echo came $((20 + 3))"]);
    terminal.wait_for("kept-web").unwrap();
    terminal.type_in("web\r").unwrap();
    terminal.wait_for("came 23").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(0));

    centre.postgres.start().unwrap();
    assert_eq!(operator.ssh(&["kept-jump", "--", "true"]).code, 0);
    let rows = operator.accesses("kept-web");
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|row| row["replayed"] == true), "{rows:?}");
}

#[test]
fn a_hanging_postgres_is_reported_and_waited_for_once() {
    let options = Options {
        host: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let operator = Operator::new(&centre, "ssh-silent");
    operator.knows("silent-1", centre.host.as_ref().unwrap());
    assert_eq!(operator.at.run(&["list"]).code, 0);
    let asked = Instant::now();
    assert_eq!(operator.ssh(&["silent-1", "--", "true"]).code, 0);
    let usual = asked.elapsed();
    let pid = fs::read_to_string(centre.postgres.data().join("postmaster.pid")).unwrap();
    let pid = Pid::from_raw(pid.lines().next().unwrap().parse().unwrap());

    kill(pid, Signal::SIGSTOP).unwrap();
    let asked = Instant::now();
    let mut terminal = operator.before_a_person(&["silent-1", "--", "true"]);
    let told = terminal.wait_for("waiting for Postgres at");
    let ended = terminal.end();
    let took = asked.elapsed();
    kill(pid, Signal::SIGCONT).unwrap();
    told.unwrap();
    assert!(ended.unwrap().success(), "{}", terminal.shown());
    // vctl waits 10 s for Postgres, and not another 5 s for the row. A slow machine gets more time.
    assert!(
        took < Duration::from_secs(13) + 2 * usual,
        "{took:?}: {}",
        terminal.shown()
    );
}

#[test]
fn a_postgres_without_a_connection_left_is_away() {
    let options = Options {
        host: true,
        ..Options::default()
    };
    let Some(centre) = Centre::or_skip(&options) else {
        return;
    };
    let operator = Operator::new(&centre, "ssh-crowded");
    let host = centre.host.as_ref().unwrap();
    operator.knows("crowded-1", host);
    assert_eq!(operator.at.run(&["list"]).code, 0);
    let spooled = || {
        let entries = fs::read_dir(operator.at.home(".vctl/spool"));
        entries.map_or(0, Iterator::count)
    };
    // Postgres returns the same SQLSTATE if other clients use all connections.
    let connections = |most: i32| {
        let sql = format!("alter database vctl connection limit {most}");
        centre.postgres.psql("postgres", &sql).unwrap();
    };
    connections(0);
    let said = operator.ssh(&["crowded-1", "--", "exit 3"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert_eq!(spooled(), 1);
    connections(-1);
    assert_eq!(operator.ssh(&["crowded-1", "--", "true"]).code, 0);
    assert_eq!(spooled(), 0);
}
