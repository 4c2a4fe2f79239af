//! `vctl rbac assign` and `grant` on a terminal.

use super::{ADMIN, PLAIN, User, narrowed};

const LEAVES: &str = "\u{1b}[?1049l";

#[test]
fn a_group_and_several_users_are_chosen_from_lists() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "pick-admin", ADMIN);
    for name in ["pick-one", "pick-two", "pick-three"] {
        User::new(centre, name, PLAIN);
    }
    admin.ok(&["rbac", "group", "create", "picked"]);
    let mut terminal = admin.at.before_a_person(&["rbac", "assign"]);
    terminal.wait_for("Choose a group").unwrap();
    terminal.type_in("picked\r").unwrap();
    terminal.wait_for("Add users to picked").unwrap();
    terminal.type_in("pick-t").unwrap();
    terminal.wait_for("2/").unwrap();
    terminal.type_in(" \u{1b}[B ").unwrap();
    terminal.wait_for("2 selected").unwrap();
    terminal.type_in("\r").unwrap();
    assert_eq!(
        terminal.end().unwrap().code(),
        Some(0),
        "{}",
        terminal.shown()
    );
    let group = admin.json(&["rbac", "group", "show", "picked"]);
    let members = &group["groups"][0]["members"];
    assert_eq!(
        *members,
        serde_json::json!(["userpass-pick-three", "userpass-pick-two"])
    );

    let mut terminal = admin.at.before_a_person(&["rbac", "grant", "picked"]);
    terminal.wait_for("Grant commands to picked").unwrap();
    terminal.type_in("\u{1b}[B \r").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(0));
    let group = admin.json(&["rbac", "group", "show", "picked"]);
    assert_eq!(group["groups"][0]["grants"], serde_json::json!(["ssh"]));

    // Every user is in `everyone`, so the list does not offer it.
    let mut terminal = admin.at.before_a_person(&["rbac", "assign"]);
    terminal.wait_for("Choose a group").unwrap();
    terminal.type_in("everyone").unwrap();
    terminal.wait_for(" 0/").unwrap();
    terminal.type_in("\u{3}").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(130));
    let mut terminal = admin.at.before_a_person(&["rbac", "grant"]);
    terminal.wait_for("everyone  all users").unwrap();
    terminal.type_in("\u{1b}").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(130));
    // A group that has all commands has none to choose.
    admin.ok(&["rbac", "group", "create", "picked-all"]);
    let all = ["*", "ssh", "exec", "sync", "prune", "trust-ca"];
    admin.ok(&[&["rbac", "grant", "picked-all"], &all[..]].concat());
    let mut terminal = admin.at.before_a_person(&["rbac", "grant", "picked-all"]);
    terminal
        .wait_for("`picked-all` may run every command already")
        .unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(0));

    // Nothing selected changes nothing, and Esc is a cancellation.
    let mut terminal = admin.at.before_a_person(&["rbac", "assign", "picked"]);
    terminal.wait_for("Add users").unwrap();
    terminal.type_in("\r").unwrap();
    terminal.wait_for("no user was chosen").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(0));
    let mut terminal = admin.at.before_a_person(&["rbac", "assign", "picked"]);
    terminal.wait_for("Add users").unwrap();
    terminal.type_in("\u{1b}").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(130));
    assert!(terminal.shown().contains(LEAVES));
}
