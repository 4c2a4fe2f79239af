//! `vctl list` shows the hosts, the hosts that match a word, and the route to a host.

mod completion;
mod edit;
mod sync;

use serde_json::Value;
use vctl_tests::centre::{Centre, Client};

use crate::fixture::programs::{stderr, stdout, vctl};

/// A database with an inventory of its own, and a user with the right to read it.
pub(crate) struct Inventory {
    pub(crate) centre: &'static Centre,
    pub(crate) database: &'static str,
    pub(crate) person: Client,
}

impl Inventory {
    pub(crate) fn new(database: &'static str, policies: &[&str]) -> Option<Self> {
        let centre = Centre::shared()?;
        centre.create_database_with_schema(database).unwrap();
        let person = centre.person(database, policies).unwrap();
        Some(Self {
            centre,
            database,
            person,
        })
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.centre.postgres.psql(self.database, sql).unwrap()
    }

    /// Adds hosts with the name `name` and the address `10.0.0.n`. A host with `jump` is behind that jump host.
    pub(crate) fn with_hosts(&self, hosts: &[(&str, &str, Option<&str>)]) {
        for (name, ip, jump) in hosts {
            let jump = jump.map_or_else(|| "null".to_owned(), |jump| format!("'{jump}'"));
            self.sql(&format!(
                "insert into vctl.servers (hostname, ip, dc, jump_via) values ('{name}', '{ip}', 'seoul', {jump})"
            ));
        }
    }

    pub(crate) fn run(&self, args: &[&str]) -> std::process::Output {
        vctl(self.centre, &self.person, self.database, args)
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed, and returns its output.
    pub(crate) fn shows(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Runs a command that must fail, and returns its exit code and its message.
    pub(crate) fn fails(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}: {}", stdout(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
        (output.status.code(), stderr(&output))
    }

    pub(crate) fn names(&self, args: &[&str]) -> Vec<String> {
        let names = self.shows(&[args, &["-o", "name"]].concat());
        names.lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_word_means_a_name_then_an_address_then_a_part_of_a_name() {
    let Some(inventory) = Inventory::new("resolving", &["vctl-user"]) else {
        return;
    };
    inventory.with_hosts(&[
        ("web", "192.0.2.1", None),
        ("web-1", "192.0.2.2", None),
        ("web_2", "192.0.2.3", None),
        ("db-1", "192.0.2.4", None),
        ("10.0.0.9", "192.0.2.5", None),
        ("old-web", "192.0.2.6", None),
    ]);
    inventory
        .sql("update vctl.servers set extra_ips = '{10.0.0.1,10.0.0.9}' where hostname = 'web-1'");
    inventory.sql("update vctl.servers set state = 'retired' where hostname = 'old-web'");
    inventory.sql(
        "insert into vctl.server_status (hostname, agent_version, addresses) values
         ('web_2', '0.1.0', '{2001:db8::2}')",
    );
    let meant = |word: &str| inventory.names(&["list", word]);
    assert_eq!(meant("web"), ["web"]);
    assert_eq!(meant("WEB-1"), ["web-1"]);
    assert_eq!(meant("10.0.0.9"), ["10.0.0.9"]);
    assert_eq!(meant("192.0.2.4"), ["db-1"]);
    assert_eq!(meant("10.0.0.1"), ["web-1"]);
    assert_eq!(meant("2001:DB8:0::2"), ["web_2"]);
    assert_eq!(meant("::ffff:192.0.2.4"), ["db-1"]);
    assert_eq!(meant("eB"), ["web", "web-1", "web_2"]);
    assert_eq!(meant("b_"), ["web_2"]);
    assert_eq!(meant("old-web"), ["old-web"]);
    for nobody in ["%", "_%", "old", "192.0.2.6", "192.0.2.99", "w.b", "'"] {
        let (code, said) = inventory.fails(&["list", nobody]);
        assert_eq!(code, Some(66), "{nobody}: {said}");
    }
}

#[test]
fn a_route_is_complete_or_an_error_names_its_flaw() {
    let Some(inventory) = Inventory::new("routes", &["vctl-user"]) else {
        return;
    };
    inventory.with_hosts(&[
        ("edge", "192.0.2.1", None),
        ("inner", "192.0.2.2", Some("edge")),
        ("web", "192.0.2.3", Some("inner")),
    ]);
    assert_eq!(
        inventory.names(&["list", "--route", "web"]),
        ["edge", "inner", "web"]
    );
    assert_eq!(inventory.names(&["list", "--route", "edge"]), ["edge"]);

    inventory.sql("update vctl.servers set jump_via = 'web' where hostname = 'edge'");
    let (code, said) = inventory.fails(&["list", "--route", "web"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("web via inner via edge via web"), "{said}");

    let (code, said) = inventory.fails(&["list", "--route", "nobody"]);
    assert_eq!(code, Some(66));
    assert!(said.contains("`nobody`"), "{said}");

    // The search also ends for a ring of a hundred hosts.
    inventory.sql(
        "insert into vctl.servers (hostname, ip) select 'ring-' || n, '192.0.2.9' from generate_series(0, 99) n",
    );
    inventory.sql(
        "update vctl.servers set jump_via = 'ring-' || (substr(hostname, 6)::int + 1) % 100
         where hostname like 'ring-%'",
    );
    let (code, said) = inventory.fails(&["list", "--route", "ring-0"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("form a loop at `ring-0`"), "{said}");
}

#[test]
fn hosts_are_grouped_for_people_and_complete_for_programs() {
    let Some(inventory) = Inventory::new("listing", &["vctl-user"]) else {
        return;
    };
    assert_eq!(inventory.shows(&["list"]), "");
    inventory.with_hosts(&[
        ("edge", "192.0.2.1", None),
        ("web", "192.0.2.3", Some("edge")),
        ("gone", "192.0.2.4", None),
        ("far", "2001:db8::1", None),
    ]);
    inventory
        .sql("update vctl.servers set dc = 'incheon', last_seen_up = now() where hostname = 'far'");
    inventory.sql("update vctl.servers set state = 'retired' where hostname = 'gone'");
    inventory.sql(
        "insert into vctl.server_status (hostname, agent_version, reported_at) values
         ('web', '0.1.0', now() - interval '9 minutes'), ('edge', '0.1.0', now() - interval '11 minutes')",
    );

    let page = inventory.shows(&["list"]);
    let lines: Vec<&str> = page.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines[1], "incheon · 1/1 up", "{page}");
    assert_eq!(lines[3], "seoul · 1/2 up", "{page}");
    assert_eq!(lines[6], "2 of 3 hosts up, in 2 data centres", "{page}");
    assert!(!page.contains("gone"), "{page}");
    assert!(inventory.shows(&["ls", "--all"]).contains("gone"));
    assert_eq!(inventory.names(&["list", "--dc", "incheon"]), ["far"]);
    assert_eq!(inventory.names(&["list", "--dc", "inch"]), [""; 0]);
    let (code, said) = inventory.fails(&["list", "far", "--dc", "seoul"]);
    assert_eq!(code, Some(66), "{said}");
    assert!(said.contains("no host that matches `far`"), "{said}");

    let json = inventory.shows(&["list", "-o", "json"]);
    let document: Value = serde_json::from_str(&json).unwrap();
    let live = document["hosts"].as_array().unwrap().iter();
    let live: Vec<_> = live
        .map(|host| {
            (
                host["name"].as_str().unwrap(),
                host["liveness"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(live, [("far", "up~"), ("edge", "stale"), ("web", "up")]);

    let lines = inventory.shows(&["list", "-o", "jsonl"]);
    let parsed: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(Value::from(parsed), document["hosts"]);
}
