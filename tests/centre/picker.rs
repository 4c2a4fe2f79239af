//! Choosing a host on a terminal: keys, sizes, and the terminal as it was, whatever happens.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::terminal::Terminal;

use crate::inventory::Inventory;
use crate::programs::vctl;

const LEAVES: &str = "\u{1b}[?1049l";

/// Starts something that asks which host is meant.
fn choosing(inventory: &Inventory) -> Terminal {
    let args = ["edit", "--dc", "chosen"];
    let command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        &args,
    );
    let mut terminal = Terminal::start(command, 80).unwrap();
    terminal.wait_for("3/3").unwrap();
    terminal
}

fn three(database: &'static str) -> Option<Inventory> {
    let inventory = Inventory::new(database, &["vctl-user", "vctl-admin"])?;
    inventory.with_hosts(&[
        ("db-1", "192.0.2.1", None),
        ("web-1", "192.0.2.2", None),
        ("web-2", "192.0.2.3", None),
    ]);
    inventory.sql("update vctl.servers set dc = 'incheon' where hostname = 'db-1'");
    Some(inventory)
}

fn chosen(inventory: &Inventory) -> String {
    let sql =
        "select coalesce(string_agg(hostname, ' '), '') from vctl.servers where dc = 'chosen'";
    inventory.sql(sql)
}

#[test]
fn a_host_is_chosen_by_typing_and_by_moving() {
    let Some(inventory) = three("picking") else {
        return;
    };
    let mut terminal = choosing(&inventory);
    terminal.type_in("w2").unwrap();
    // The address of web-1 has a 2, too; the best is first.
    terminal.wait_for("2/3").unwrap();
    terminal.type_in("\r").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    assert_eq!(chosen(&inventory), "web-2");
    inventory.sql("update vctl.servers set dc = 'seoul' where dc = 'chosen'");

    // Right: incheon, then seoul; down: its second host.
    let mut terminal = choosing(&inventory);
    terminal.type_in("\u{1b}[C").unwrap();
    terminal.wait_for("incheon").unwrap();
    terminal.type_in("\u{1b}[C").unwrap();
    terminal.wait_for("2/3").unwrap();
    terminal.type_in("\u{1b}[B\r").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    assert_eq!(chosen(&inventory), "web-2");
}

#[test]
fn any_size_of_the_terminal_is_drawn_for() {
    let Some(inventory) = three("resizing") else {
        return;
    };
    let mut terminal = choosing(&inventory);
    for (rows, columns) in [(1, 1), (1, 200), (200, 1), (2, 2), (0, 0), (24, 80)] {
        terminal.resize(rows, columns).unwrap();
        terminal.type_in("w").unwrap();
        terminal.type_in("\u{7f}").unwrap();
    }
    terminal.type_in("db").unwrap();
    terminal.wait_for("1/3").unwrap();
    terminal.type_in("\r").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    assert_eq!(chosen(&inventory), "db-1");
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let Some(inventory) = three("cancelling") else {
        return;
    };
    let keys: [(&str, Option<Signal>); 4] = [
        ("\u{1b}", None),
        ("\u{3}", None),
        ("", Some(Signal::SIGTERM)),
        ("", Some(Signal::SIGINT)),
    ];
    for (key, signal) in keys {
        let mut terminal = choosing(&inventory);
        assert!(!terminal.echoes().unwrap(), "what is typed is keys");
        terminal.type_in(key).unwrap();
        if let Some(signal) = signal {
            let id = i32::try_from(terminal.id()).unwrap();
            kill(Pid::from_raw(id), signal).unwrap();
        }
        let status = terminal.end().unwrap();
        assert_eq!(status.code(), Some(130), "{key:?} {signal:?}");
        assert!(terminal.echoes().unwrap(), "{key:?} {signal:?}");
        assert!(terminal.shown().contains(LEAVES), "{key:?} {signal:?}");
        assert_eq!(chosen(&inventory), "");
    }
}

#[test]
fn without_a_terminal_the_hosts_are_listed_and_nothing_is_read() {
    let Some(inventory) = three("unattended_choice") else {
        return;
    };
    let (code, said) = inventory.fails(&["edit", "--dc", "chosen"]);
    assert_eq!(code, Some(66));
    assert!(said.contains("db-1, web-1, web-2"), "{said}");
}

#[test]
fn nobody_is_asked_whether_to_log_in_to_a_retired_host() {
    let Some(inventory) = Inventory::new("picking-retired", &["vctl-user", "vctl-ssh"]) else {
        return;
    };
    inventory.with_hosts(&[
        ("db-1", "192.0.2.1", None),
        ("web-1", "192.0.2.2", None),
        ("web-2", "192.0.2.3", None),
    ]);
    inventory.sql("update vctl.servers set state = 'retired' where hostname = 'web-1'");
    let (_, said) = inventory.fails(&["ssh"]);
    assert!(said.contains("2 hosts match"), "{said}");
    assert!(!said.contains("web-1"), "{said}");
}
