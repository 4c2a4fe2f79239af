//! Commands that ask a question or change data first check everything that they need.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use vctl_tests::terminal::Terminal;

use crate::fixture::programs::{stderr, vctl};
use crate::inventory::Inventory;

fn on_a_terminal(inventory: &Inventory, args: &[&str]) -> (Option<i32>, String) {
    let command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        args,
    );
    let mut terminal = Terminal::start(command, 100).unwrap();
    let ended = terminal.end().unwrap();
    (ended.code(), terminal.shown())
}

#[test]
fn a_question_comes_after_the_checks() {
    let Some(inventory) = Inventory::new("checking", &["vctl-user", "vctl-admin"]) else {
        return;
    };
    inventory.with_hosts(&[
        ("edge", "192.0.2.1", None),
        ("web", "192.0.2.2", Some("edge")),
    ]);
    let (code, shown) = on_a_terminal(&inventory, &["delete", "nosuch"]);
    assert_eq!(code, Some(66), "{shown}");
    assert!(!shown.contains("[y/N]"), "{shown}");
    let (code, shown) = on_a_terminal(&inventory, &["delete", "edge"]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        !shown.contains("[y/N]") && shown.contains("`web`"),
        "{shown}"
    );
    let Some(reader) = Inventory::new("checking-less", &["vctl-user"]) else {
        return;
    };
    reader.with_hosts(&[("web", "192.0.2.2", None)]);
    for args in [
        vec!["delete", "web"],
        vec!["delete"],
        vec!["edit", "--dc", "x"],
        vec!["add"],
        vec!["prune"],
    ] {
        let (code, shown) = on_a_terminal(&reader, &args);
        assert_eq!(code, Some(77), "{args:?}: {shown}");
        assert!(
            !shown.contains("[y/N]") && !shown.contains("Name of"),
            "{args:?}: {shown}"
        );
    }
}

#[test]
fn a_rotation_checks_every_host_and_asks() {
    let Some(inventory) = Inventory::new("foreseeing", &["vctl-user", "vctl-admin", "vctl-ssh"])
    else {
        return;
    };
    inventory.with_hosts(&[("web", "192.0.2.2", None), ("odd", "192.0.2.3", None)]);
    inventory.sql("update vctl.servers set ssh_user = 'root'");
    inventory.shows(&["migrate"]);
    let (code, said) = inventory.fails(&["ca", "ssh-rotate", "--next"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--yes"), "{said}");
    inventory.sql("update vctl.servers set ssh_user = 'stranger' where hostname = 'odd'");
    let (code, said) = inventory.fails(&["ca", "ssh-rotate", "--next", "--yes"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("`stranger` of odd"), "{said}");
    inventory.sql("update vctl.servers set ca_role = 'absent' where hostname = 'odd'");
    let (code, said) = inventory.fails(&["ca", "ssh-rotate", "--next", "--yes"]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("role `absent` does not exist"), "{said}");
    inventory.sql("delete from vctl.servers where hostname = 'odd'");
    let args = ["ca", "ssh-rotate", "--next"];
    let command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        &args,
    );
    let mut terminal = Terminal::start(command, 100).unwrap();
    terminal.wait_for("[y/N]").unwrap();
    terminal.type_in("n\n").unwrap();
    terminal.end().unwrap();
    assert!(terminal.shown().contains("nothing was changed"));
    let next = "select count(*) from vctl.ca_keys where state = 'next'";
    assert_eq!(inventory.sql(next), "0");
}

#[test]
fn trust_ca_asks_for_the_right_before_it_goes_to_a_host() {
    let Some(inventory) = Inventory::new("trusting-less", &["vctl-user", "vctl-ssh"]) else {
        return;
    };
    inventory.with_hosts(&[("web", "192.0.2.2", None)]);
    let bin = tempfile::tempdir().unwrap();
    let went = bin.path().join("went");
    let ssh = bin.path().join("ssh");
    fs::write(
        &ssh,
        format!("#!/bin/sh\ntouch {}\nexit 1\n", went.display()),
    )
    .unwrap();
    fs::set_permissions(&ssh, Permissions::from_mode(0o755)).unwrap();
    let args = ["trust-ca", "web", "--yes"];
    let mut command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        &args,
    );
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.path().display()));
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(said.contains("`vctl-admin`"), "{said}");
    assert!(!went.exists(), "{said}");
}
