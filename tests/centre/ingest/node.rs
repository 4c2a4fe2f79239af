//! `vctl-agent node`: a host has one row for all heartbeats, and `node` continues after every outage.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use vctl_tests::centre::{Centre, DATABASE, HostIdentity, Options};
use vctl_tests::lab::{Programs, eventually};

use crate::fixture::programs::{node, stderr};

#[test]
fn a_heartbeat_is_one_row_and_leaves_no_login_behind() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("beat-1").unwrap();
    let directory = tempfile::tempdir().unwrap();
    // A collector writes such a file. The socket accepts connections but does not answer.
    let status = json!({
        "mode": "strict", "written_at": now_ms(),
        "losses": {"ring_full": {"events": 7}, "spool_cap": {"events": 3}},
        "logins": {"in_time": 9, "late": 2},
        "shipping": {"backlog_bytes": 4096, "oldest_unshipped_at": 1_700_000_000_500_u64},
    });
    fs::write(directory.path().join("collector.json"), status.to_string()).unwrap();
    let _silent = UnixListener::bind(directory.path().join("agent.sock")).unwrap();
    for _ in 0..2 {
        let output = node(centre, &host, directory.path(), &["--once"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let row = row(centre, "beat-1");
    assert_eq!(row["events_lost"], 7);
    assert_eq!(row["events_dropped"], 3);
    assert_eq!(row["logins_unstamped"], 2);
    assert_eq!(row["spool_backlog_bytes"], 4096);
    assert_eq!(row["collector_mode"], "strict");
    assert_eq!(row["collector_up"], false);
    let problem = row["problem"].as_str().unwrap();
    assert!(problem.contains("does not answer"), "{problem}");
    assert_eq!(row["oldest_unshipped_at"], "2023-11-14T22:13:20.5+00:00");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(row["kernel"], kernel.trim());
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(row["boot_id"], boot.trim());
    for number in [
        "load1",
        "memory_total_bytes",
        "disk_total_bytes",
        "uptime_s",
    ] {
        assert!(row[number].is_number(), "{number} in {row}");
    }
    let text = row.to_string();
    if let Ok(raw) = fs::read_to_string("/etc/machine-id") {
        assert!(raw.trim().is_empty() || !text.contains(raw.trim()));
    }
    assert!(!text.contains("\"127.0.0.1\""), "{text}");
    let logins = "select count(*) from pg_roles where rolname like 'status/beat-1/%'";
    assert_eq!(centre.postgres.psql(DATABASE, logins).unwrap(), "0");
}

#[test]
fn a_host_outside_the_inventory_adds_nothing() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("beat-2").unwrap();
    let delete = "delete from vctl.servers where hostname = 'beat-2'";
    centre.postgres.psql(DATABASE, delete).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let output = node(centre, &host, directory.path(), &["--once"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("inventory"), "{}", stderr(&output));
    let rows = "select count(*) from vctl.servers where hostname = 'beat-2'";
    assert_eq!(centre.postgres.psql(DATABASE, rows).unwrap(), "0");
}

#[test]
fn the_node_agent_survives_outages_and_logs_each_once() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let host = centre.enroll("beat-3").unwrap();
    let running = Running::start(&centre, &host, |_| {});
    running.await_line("Reporting.", 1);
    centre.postgres.kill().unwrap();
    running.await_line("did not get through", 1);
    // During this time, more attempts fail without a line in the log.
    std::thread::sleep(Duration::from_secs(3));
    centre.postgres.start().unwrap();
    running.await_line("Reporting.", 2);
    let admin = centre.bao.admin().unwrap();
    let prefix = "sys/leases/revoke-prefix/auth/approle/login";
    admin.post(prefix, &json!({})).unwrap();
    let before = reported_at(&centre);
    let goes_on = || Ok(reported_at(&centre) != before);
    assert!(eventually(Duration::from_secs(40), goes_on).unwrap());
    assert_eq!(running.lines("did not get through"), 1, "{}", running.log());
}

#[test]
fn a_stop_signal_ends_it_at_once() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("beat-4").unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port().to_string();
    let mut running = Running::start(centre, &host, |command| {
        command.env("VCTL_DB_PORT", &port);
    });
    let _connection = mute.accept().unwrap();
    let told = Instant::now();
    kill(running.pid(), Signal::SIGTERM).unwrap();
    assert!(running.child.wait().unwrap().success(), "{}", running.log());
    assert!(
        told.elapsed() < Duration::from_secs(1),
        "{:?}",
        told.elapsed()
    );
}

#[test]
fn node_agent_of_vctl_is_the_same_program() {
    let Ok(programs) = Programs::find() else {
        return;
    };
    let run = |path: &std::path::Path| {
        let mut command = Command::new(&programs.vctl);
        command
            .args(["node-agent", "--interval", "never"])
            .env("PATH", path);
        command.output().unwrap()
    };
    let there = run(programs.agent.parent().unwrap());
    assert!(
        stderr(&there).contains("a number with `s`, `m` or `h`"),
        "{}",
        stderr(&there)
    );
    if !std::path::Path::new("/usr/sbin/vctl-agent").exists() {
        let absent = run("/nonexistent".as_ref());
        assert_eq!(absent.status.code(), Some(1));
        assert!(
            stderr(&absent).contains("vctl-agent"),
            "{}",
            stderr(&absent)
        );
    }
}

/// An agent with a heartbeat every second. Drop ends it.
struct Running {
    child: Child,
    directory: tempfile::TempDir,
}

impl Running {
    fn start(centre: &Centre, host: &HostIdentity, change: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = node(centre, host, directory.path(), &["--interval", "1s"]);
        change(&mut command);
        let log = File::create(directory.path().join("log")).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        Self { child, directory }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn lines(&self, part: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(part))
            .count()
    }

    fn await_line(&self, part: &str, times: usize) {
        let there = || Ok(self.lines(part) == times);
        let found = eventually(Duration::from_secs(40), there).unwrap();
        assert!(found, "no {times} × `{part}` in:\n{}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reported_at(centre: &Centre) -> String {
    let sql = "select reported_at from vctl.server_status where hostname = 'beat-3'";
    centre.postgres.psql(DATABASE, sql).unwrap()
}

fn row(centre: &Centre, host: &str) -> Value {
    let sql = format!(
        "set timezone = 'UTC'; select row_to_json(s) from vctl.server_status s where hostname = '{host}'"
    );
    serde_json::from_str(&centre.postgres.psql(DATABASE, &sql).unwrap()).unwrap()
}

fn now_ms() -> u64 {
    let now = vctl_common::time::wall_now();
    vctl_common::status::Millis::from_time(now).0
}
