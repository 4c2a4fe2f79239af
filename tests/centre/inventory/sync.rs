//! `vctl sync` with a real ssh_config that ssh itself reads, and with open and closed ports.

use std::fs;
use std::net::TcpListener;
use std::process::Output;

use tempfile::TempDir;

use crate::fixture::programs::{stderr, stdout, vctl};
use crate::inventory::Inventory;

/// A home with an ssh_config, and an open port of this machine.
struct Syncing {
    inventory: Inventory,
    home: TempDir,
    listener: TcpListener,
}

impl Syncing {
    fn new(database: &'static str) -> Option<Self> {
        let inventory = Inventory::new(database, &["vctl-user", "vctl-admin"])?;
        let home = TempDir::new().unwrap();
        fs::create_dir(home.path().join(".ssh")).unwrap();
        Some(Self {
            inventory,
            home,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        })
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn config(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(".ssh").join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        let Inventory {
            centre,
            person,
            database,
        } = &self.inventory;
        let args = [&["sync"], args].concat();
        let mut command = vctl(centre, person, database, &args);
        command
            .env("HOME", self.home.path())
            .env("VCTL_SYNC_PROBE_TIMEOUT", "1s")
            .env("VCTL_DC_RULES", "[{name: here, prefixes: ['127.0.']}]");
        command.output().unwrap()
    }

    fn rows(&self) -> Vec<String> {
        let rows = self.inventory.sql(
            "select string_agg(concat_ws(' ', hostname, host(ip), ssh_port, ssh_user, dc, coalesce(jump_via, '-'),
                 case when last_seen_up is null then 'down' else 'up' end), '|' order by hostname)
             from vctl.servers",
        );
        rows.split('|').map(str::to_owned).collect()
    }
}

#[test]
fn sync_reads_hosts_as_ssh_does() {
    let Some(syncing) = Syncing::new("syncing") else {
        return;
    };
    let port = syncing.port();
    let included = syncing.config(
        "included",
        "Host sre-inner\n  HostName 127.0.0.2\n  Port 1\n  ProxyJump Edge\n",
    );
    let config = syncing.config(
        "config",
        &format!(
            "Include {included}\n\
             Host sre-web sre-db\n  HostName 127.0.0.1\n  Port {port}\n\
             Host sre-far\n  HostName 127.8.0.7\n  Port 1\n  ProxyJump other@Edge,sre-inner\n\
             Host Edge\n  HostName = \"localhost\"\n  Port 1\n\
             Host private\n  HostName 127.8.0.8\n\
             Match host 127.8.0.*\n  User matched\n\
             Host sre-*\n  User deploy\n"
        ),
    );
    let dry = syncing.run(&["--config", &config, "--prefix", "SRE-", "--dry-run"]);
    assert!(dry.status.success(), "{}", stderr(&dry));
    assert_eq!(syncing.rows(), [""]);
    let plan = stdout(&dry);
    let (heading, hosts) = plan.split_once('\n').unwrap();
    assert_eq!(hosts.lines().count(), 5, "{plan}");
    // Names and addresses have different lengths, and the columns are aligned.
    let column = heading.find("ADDRESS").unwrap();
    let is_address =
        |line: &str| line[..column].ends_with("  ") && !line[column..].starts_with(' ');
    assert!(hosts.lines().all(is_address), "{plan}");

    let done = syncing.run(&["--config", &config, "--prefix", "SRE-"]);
    let said = stderr(&done);
    assert!(done.status.success(), "{said}");
    assert!(
        said.contains("5 added, 0 changed, 0 unchanged; 2 of 5 reached"),
        "{said}"
    );
    let rows = syncing.rows();
    // The line of this host names no user, but the line of a host behind it does. Two hosts at the same address and
    // port are two hosts, because the name identifies a host.
    assert!(rows[0].starts_with("edge 127.0.0.1 1 other "), "{rows:?}");
    assert_eq!(rows[1], format!("sre-db 127.0.0.1 {port} deploy here - up"));
    assert_eq!(
        rows[2],
        "sre-far 127.8.0.7 1 matched unknown sre-inner down"
    );
    assert_eq!(rows[3], "sre-inner 127.0.0.2 1 deploy here edge down");
    assert_eq!(
        rows[4],
        format!("sre-web 127.0.0.1 {port} deploy here - up")
    );
    assert_eq!(rows.len(), 5);
}

#[test]
fn sync_keeps_the_fields_that_operators_set() {
    let Some(syncing) = Syncing::new("resyncing") else {
        return;
    };
    let port = syncing.port();
    let config = |port: u16| {
        syncing.config(
            "config",
            &format!("Host web\n  HostName 127.0.0.1\n  Port {port}\n  User deploy\n"),
        )
    };
    config(port);
    assert!(syncing.run(&[]).status.success());
    syncing
        .inventory
        .shows(&["edit", "web", "--dc", "incheon", "--user", "root"]);
    // No server listens at port 1.
    config(1);
    let done = syncing.run(&[]);
    let said = stderr(&done);
    assert!(
        said.contains("0 added, 1 changed, 0 unchanged; 0 of 1 reached"),
        "{said}"
    );
    assert_eq!(syncing.rows(), ["web 127.0.0.1 1 root incheon - up"]);
    let again = stderr(&syncing.run(&[]));
    assert!(again.contains("0 changed, 1 unchanged"), "{again}");
}

#[test]
fn an_invalid_host_is_named_and_the_others_are_added() {
    let Some(syncing) = Syncing::new("missyncing") else {
        return;
    };
    let port = syncing.port();
    syncing.config(
        "config",
        &format!(
            "Host good\n  HostName 127.0.0.1\n  Port {port}\n\
             Host ring-a\n  HostName 127.0.0.1\n  ProxyJump ring-b\n\
             Host ring-b\n  HostName 127.0.0.1\n  ProxyJump ring-a\n\
             Host nowhere\n  HostName no-such-host.invalid\n\
             Host bad+name\n  HostName 127.0.0.1\n\
             Host piped\n  HostName 127.0.0.1\n  ProxyCommand nc %h %p\n"
        ),
    );
    let done = syncing.run(&[]);
    let said = stderr(&done);
    assert_eq!(done.status.code(), Some(1), "{said}");
    for name in ["ring-a", "ring-b", "nowhere", "bad+name", "piped"] {
        assert!(said.contains(&format!("`{name}`")), "{name}: {said}");
    }
    assert!(
        said.contains("1 added") && said.contains("3 of 6 hosts were not imported"),
        "{said}"
    );
    assert_eq!(syncing.rows().len(), 1);

    let missing = syncing.run(&["--config", "/nowhere/config"]);
    assert_eq!(missing.status.code(), Some(66));
}

#[test]
fn hosts_that_cannot_be_imported_by_design_do_not_fail_a_timer() {
    let Some(syncing) = Syncing::new("designing") else {
        return;
    };
    let port = syncing.port();
    syncing.config(
        "config",
        &format!(
            "Host good\n  HostName 127.0.0.1\n  Port {port}\n\
             Host piped piped-2\n  HostName no-such-host.invalid\n  ProxyCommand nc %h %p\n\
             Host behind\n  HostName 127.0.0.1\n  ProxyJump piped\n\
             Host farther\n  HostName 127.0.0.1\n  ProxyJump behind\n\
             Host bad+name\n  HostName 127.0.0.1\n"
        ),
    );
    let dry = syncing.run(&["--dry-run"]);
    let said = stderr(&dry);
    assert_eq!(dry.status.code(), Some(0), "{said}");
    assert!(
        said.contains("2 hosts would not be imported: `piped`, `piped-2`"),
        "{said}"
    );
    for _ in 0..2 {
        let done = syncing.run(&[]);
        let said = stderr(&done);
        assert_eq!(done.status.code(), Some(0), "{said}");
        assert_eq!(said.matches("`ProxyCommand`").count(), 1, "{said}");
        for name in [
            "`piped`",
            "`piped-2`",
            "`behind`",
            "`farther`",
            "`bad+name`",
        ] {
            assert!(said.contains(name), "{name}: {said}");
        }
    }
    assert_eq!(syncing.rows().len(), 1, "{:?}", syncing.rows());
    syncing.config("config", "Host lost\n  HostName no-such-host.invalid\n");
    let dry = syncing.run(&["--dry-run"]);
    assert_eq!(dry.status.code(), Some(1));
    let said = stderr(&dry);
    assert!(said.contains("1 of 1 host would not be imported"), "{said}");
}

#[test]
fn a_host_is_down_only_after_a_probe() {
    let Some(syncing) = Syncing::new("probing") else {
        return;
    };
    let inventory = &syncing.inventory;
    for (name, ip) in [
        ("never", "192.0.2.1"),
        ("later", "127.0.0.1"),
        ("agent", "192.0.2.3"),
    ] {
        inventory.shows(&["add", name, "--ip", ip]);
    }
    let seen = |name: &str| {
        let text = inventory.shows(&["list", name, "-o", "json"]);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["hosts"][0]["liveness"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!([seen("never"), seen("later")], ["unknown", "unknown"]);
    let list = inventory.shows(&["list"]);
    assert!(
        list.contains("3 hosts, 3 unknown, in 1 data centre"),
        "{list}"
    );
    // The probe did not reach this host.
    syncing.config("config", "Host later\n  HostName 127.0.0.1\n  Port 1\n");
    assert!(syncing.run(&[]).status.success());
    assert_eq!([seen("never"), seen("later")], ["unknown", "down"]);
    // The probe reached this host once, and then no longer.
    let port = syncing.port();
    syncing.config(
        "config",
        &format!("Host later\n  HostName 127.0.0.1\n  Port {port}\n"),
    );
    assert!(syncing.run(&[]).status.success());
    assert_eq!(seen("later"), "up~");
    syncing.config("config", "Host later\n  HostName 127.0.0.1\n  Port 1\n");
    assert!(syncing.run(&[]).status.success());
    assert_eq!(seen("later"), "down");
    let list = inventory.shows(&["list"]);
    assert!(
        list.contains("0 of 3 hosts up, 2 unknown, in 1 data centre"),
        "{list}"
    );
}
