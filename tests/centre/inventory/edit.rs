//! `vctl add`, `edit`, `delete` and `dbedit` make each change completely or not at all.

use vctl_tests::terminal::Terminal;

use crate::fixture::programs::{stderr, stdout, vctl};
use crate::inventory::Inventory;

fn admins(database: &'static str) -> Option<Inventory> {
    Inventory::new(database, &["vctl-user", "vctl-admin"])
}

#[test]
fn a_host_is_added_from_flags_and_ssh_config() {
    let Some(inventory) = admins("adding") else {
        return;
    };
    let mut add = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        &[
            "add",
            "web-1",
            "--ip",
            "10.40.0.7",
            "--extra-ip",
            "10.0.0.1",
            "--tag",
            "blue",
        ],
    );
    add.env(
        "VCTL_DC_RULES",
        "[{name: wide, prefixes: ['10.']}, {name: incheon, prefixes: ['10.40.0.']}]",
    );
    let output = add.env("VCTL_SSH_DEFAULT_USER", "ubuntu").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    inventory.shows(&[
        "add",
        "db-1",
        "--ip",
        "2001:db8::9",
        "--jump",
        "web-1",
        "--port",
        "2222",
    ]);
    let rows = inventory.sql(
        "select string_agg(concat_ws(' ', hostname, dc, host(ip), ssh_port, ssh_user, coalesce(jump_via, '-'),
             extra_ips, tags), '|' order by hostname) from vctl.servers",
    );
    let (db, web) = rows.split_once('|').unwrap();
    assert_eq!(web, "web-1 incheon 10.40.0.7 22 ubuntu - {10.0.0.1} {blue}");
    assert!(db.starts_with("db-1 unknown 2001:db8::9 2222 "), "{db}");
    assert!(db.contains(" web-1 "), "{db}");

    let (code, said) = inventory.fails(&["add", "web-1", "--ip", "10.0.0.2"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("`vctl edit web-1`"), "{said}");
    let (code, said) = inventory.fails(&["add", "x", "--ip", "10.0.0.2", "--jump", "nobody"]);
    assert_eq!(code, Some(66));
    assert!(said.contains("`nobody`"), "{said}");
    let (code, said) = inventory.fails(&["add", "x"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("`--ip`"), "{said}");
    assert_eq!(
        inventory.fails(&["add", "Web", "--ip", "10.0.0.2"]).0,
        Some(2)
    );
}

#[test]
fn a_new_name_is_carried_into_the_jumps_that_lead_through_it() {
    let Some(inventory) = admins("renaming") else {
        return;
    };
    inventory.with_hosts(&[
        ("edge", "192.0.2.1", None),
        ("web", "192.0.2.2", Some("edge")),
    ]);
    inventory
        .sql("insert into vctl.server_status (hostname, agent_version) values ('edge', '0.1.0')");
    inventory.shows(&["edit", "edge", "--name", "gate", "--dc", "incheon"]);
    assert_eq!(
        inventory.names(&["list", "--route", "web"]),
        ["gate", "web"]
    );
    assert_eq!(
        inventory.sql("select hostname from vctl.server_status"),
        "gate"
    );
    assert_eq!(inventory.names(&["list", "--dc", "incheon"]), ["gate"]);

    assert_eq!(inventory.fails(&["edit", "edge", "--dc", "x"]).0, Some(66));
    assert_eq!(
        inventory.fails(&["edit", "gate", "--name", "web"]).0,
        Some(1)
    );
    assert_eq!(inventory.fails(&["edit", "gate"]).0, Some(2));
}

#[test]
fn no_change_makes_a_way_that_never_ends() {
    let Some(inventory) = admins("rings") else {
        return;
    };
    inventory.with_hosts(&[
        ("edge", "192.0.2.1", None),
        ("web", "192.0.2.2", Some("edge")),
    ]);
    let (code, said) = inventory.fails(&["edit", "edge", "--jump", "web", "--dc", "x"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("form a loop"), "{said}");
    assert_eq!(
        inventory.fails(&["edit", "edge", "--jump", "edge"]).0,
        Some(2)
    );
    assert_eq!(
        inventory.fails(&["edit", "edge", "--jump", "nobody"]).0,
        Some(66)
    );
    let row = "select jump_via is null and dc = 'seoul' from vctl.servers where hostname = 'edge'";
    assert_eq!(inventory.sql(row), "t", "nothing of it is done");
    inventory.shows(&["edit", "web", "--jump", "direct"]);
    inventory.shows(&["edit", "edge", "--jump", "web"]);
}

#[test]
fn a_host_that_others_are_reached_through_is_not_deleted() {
    let Some(inventory) = admins("deleting") else {
        return;
    };
    inventory.with_hosts(&[
        ("edge", "192.0.2.1", None),
        ("web-1", "192.0.2.2", Some("edge")),
        ("web-2", "192.0.2.3", Some("edge")),
    ]);
    let (code, said) = inventory.fails(&["delete", "edge", "--yes"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("`web-1`, `web-2`"), "{said}");
    let (code, said) = inventory.fails(&["delete", "web-1"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(inventory.sql("select count(*) from vctl.servers"), "3");
    inventory.shows(&["delete", "web-1", "--yes"]);
    assert_eq!(inventory.names(&["list"]), ["edge", "web-2"]);
    assert_eq!(inventory.fails(&["delete", "web-1", "--yes"]).0, Some(66));
}

#[test]
fn deleting_on_a_terminal_asks_first() {
    let Some(inventory) = admins("asking") else {
        return;
    };
    let on_terminal = |args: &[&str]| {
        let command = vctl(
            inventory.centre,
            &inventory.person,
            inventory.database,
            args,
        );
        Terminal::start(command, 80).unwrap()
    };
    let mut add = on_terminal(&["add"]);
    add.wait_for("Name of the host: ").unwrap();
    add.type_in("Not A Name\n").unwrap();
    add.wait_for("a host name has").unwrap();
    add.type_in("web-1\n").unwrap();
    add.wait_for("IP address: ").unwrap();
    add.type_in("10.0.0.7\n").unwrap();
    assert!(add.end().unwrap().success(), "{}", add.shown());
    assert_eq!(inventory.names(&["list"]), ["web-1"]);

    for (answer, left) in [("\n", "1"), ("no\n", "1"), ("y\n", "0")] {
        let mut delete = on_terminal(&["delete", "web-1"]);
        delete.wait_for("[y/N]").unwrap();
        delete.type_in(answer).unwrap();
        assert!(delete.end().unwrap().success(), "{}", delete.shown());
        assert_eq!(inventory.sql("select count(*) from vctl.servers"), left);
    }
}

#[test]
fn dbedit_changes_many_hosts_and_names_the_others() {
    let Some(inventory) = admins("dbediting") else {
        return;
    };
    inventory.with_hosts(&[
        ("web-1", "192.0.2.1", None),
        ("web-2", "192.0.2.2", Some("web-1")),
    ]);
    let output = inventory.run(&[
        "dbedit",
        "-col",
        "dc",
        "web-1=incheon",
        "nobody=x",
        "web-2=incheon",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let lines = stdout(&output);
    let words: Vec<&str> = lines
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(words, ["OK", "MISS", "OK"], "{lines}");
    assert_eq!(
        inventory.names(&["list", "--dc", "incheon"]),
        ["web-1", "web-2"]
    );

    inventory.shows(&[
        "dbedit",
        "-col",
        "ips",
        "web-1=10.0.0.1,2001:db8::1",
        "web-2=",
    ]);
    inventory.shows(&["dbedit", "-col", "user", "web-1=ubuntu"]);
    inventory.shows(&["dbedit", "-col", "name", "web-1=www"]);
    let row = "select concat_ws(' ', ssh_user, extra_ips) from vctl.servers where hostname = 'www'";
    assert_eq!(inventory.sql(row), "ubuntu {10.0.0.1,2001:db8::1}");

    let output = inventory.run(&["dbedit", "-col", "del", "www", "web-2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).starts_with("ERR   www: `www` is the jump host of `web-2`\nOK"),
        "{}",
        stdout(&output)
    );
    // If one change is invalid, vctl makes none of the changes.
    assert_eq!(
        inventory
            .fails(&["dbedit", "-col", "ips", "www=10.0.0.9", "www=here"])
            .0,
        Some(2)
    );
    assert_eq!(inventory.sql(row), "ubuntu {10.0.0.1,2001:db8::1}");
}

#[test]
fn a_reader_changes_nothing() {
    let Some(inventory) = Inventory::new("readers", &["vctl-user"]) else {
        return;
    };
    inventory.with_hosts(&[("web", "192.0.2.1", None)]);
    let (code, said) = inventory.fails(&["edit", "web", "--dc", "x"]);
    assert_eq!(code, Some(77), "{said}");
}
