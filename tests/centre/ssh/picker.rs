//! The choice of a host on a terminal: keys, terminal sizes, and the restored terminal after every kind of end.

use std::io::{Read as _, Write as _};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::terminal::Terminal;

use crate::fixture::programs::{stderr, vctl};
use crate::inventory::Inventory;

const LEAVES: &str = "\u{1b}[?1049l";

/// Starts a command that asks the user to choose a host.
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
    // The address of web-1 also contains a 2. The best match is first.
    terminal.wait_for("2/3").unwrap();
    terminal.type_in("\r").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    assert_eq!(chosen(&inventory), "web-2");
    inventory.sql("update vctl.servers set dc = 'seoul' where dc = 'chosen'");

    // The right arrow moves from incheon to seoul. The down arrow moves to the second host there.
    let mut terminal = choosing(&inventory);
    terminal.type_in("\u{1b}[C").unwrap();
    terminal.wait_for("1/3").unwrap();
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
    let (mut input, mut typed) = std::io::pipe().unwrap();
    typed.write_all(b"web-1\n").unwrap();
    drop(typed);
    let args = ["edit", "--dc", "chosen"];
    let mut command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        &args,
    );
    let output = command.stdin(input.try_clone().unwrap()).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(66), "{said}");
    assert!(
        said.contains("and there is no terminal: db-1, web-1, web-2"),
        "{said}"
    );
    assert_eq!(chosen(&inventory), "");
    let mut unread = String::new();
    input.read_to_string(&mut unread).unwrap();
    assert_eq!(unread, "web-1\n");

    let mut terminal = Terminal::start(
        vctl(
            inventory.centre,
            &inventory.person,
            inventory.database,
            &["edit", "--dc", "chosen", "--no-input"],
        ),
        200,
    )
    .unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(66));
    terminal
        .wait_for("3 hosts match, and `--no-input` forbids prompts: db-1, web-1, web-2")
        .unwrap();
}

#[test]
fn retired_hosts_are_not_offered() {
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
    let command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        &["ssh"],
    );
    let mut terminal = Terminal::start(command, 80).unwrap();
    terminal.wait_for("2/2").unwrap();
    assert!(!terminal.shown().contains("web-1"), "{}", terminal.shown());
    terminal.type_in("\u{1b}").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(130));
}

/// Returns the lines of the last drawn frame, without colours.
fn last_frame(terminal: &Terminal) -> Vec<String> {
    let shown = terminal.shown();
    let frame = shown.rsplit("\u{1b}[1;1H").next().unwrap();
    let lines = frame.split("\r\n").map(|line| {
        let mut parts = line.split('\u{1b}');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part
                .find(|c: char| c.is_ascii_alphabetic())
                .map_or(0, |at| at + 1);
            text.push_str(&part[end..]);
        }
        text.trim_end().to_owned()
    });
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn rows_are_aligned_in_natural_order_with_liveness() {
    let Some(inventory) = Inventory::new("picking-rows", &["vctl-user", "vctl-admin"]) else {
        return;
    };
    inventory.with_hosts(&[
        ("rnd-1", "192.0.2.1", None),
        ("rnd-10", "192.0.2.2", None),
        ("rnd-2", "192.0.2.3", None),
        ("db-1", "192.0.2.4", None),
    ]);
    inventory.sql("update vctl.servers set dc = 'x' where hostname = 'db-1'");
    inventory.sql(
        "insert into vctl.server_status (hostname, agent_version, reported_at) values
         ('rnd-10', '0.1.0', now()), ('rnd-2', '0.1.0', now() - interval '1 day')",
    );
    let args = ["edit", "--dc", "chosen"];
    let command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        &args,
    );
    let mut terminal = Terminal::start(command, 80).unwrap();
    terminal.wait_for("root@192.0.2.4").unwrap();
    let frame = last_frame(&terminal);
    assert!(
        frame[2].contains("Enter choose") && frame[2].contains("Esc cancel"),
        "{frame:?}"
    );
    assert!(
        frame.iter().all(|line| line.chars().count() <= 80),
        "{frame:?}"
    );
    let rows = &frame[3..];
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row[2..].split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["rnd-1", "rnd-2", "rnd-10", "db-1"]);
    let column = |of: &str| rows.iter().map(|row| row.find(of)).collect::<Vec<_>>();
    let at = column("root@")[0];
    assert!(
        at.is_some() && column("root@").iter().all(|place| *place == at),
        "{rows:?}"
    );
    assert!(
        rows[1].contains(" stale ") && rows[2].contains(" up "),
        "{rows:?}"
    );
    // The last row needs one key. Then the selection moves back to the first row.
    terminal.type_in("\u{1b}[F").unwrap();
    terminal.wait_for("> db-1").unwrap();
    terminal.type_in("\u{1b}[H\r").unwrap();
    assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
    assert_eq!(chosen(&inventory), "rnd-1");
}

#[test]
fn the_host_that_was_used_last_is_first() {
    let Some(inventory) = Inventory::new("picking-recent", &["vctl-user", "vctl-ssh"]) else {
        return;
    };
    // No server listens at this address.
    inventory.with_hosts(&[
        ("db-1", "127.0.0.1", None),
        ("web-1", "127.0.0.1", None),
        ("web-2", "127.0.0.1", None),
    ]);
    inventory.sql("update vctl.servers set ssh_port = 1");
    let home = tempfile::tempdir().unwrap();
    let start = |args: &[&str]| {
        let mut command = vctl(
            inventory.centre,
            &inventory.person,
            inventory.database,
            args,
        );
        command.env("HOME", home.path());
        Terminal::start(command, 80).unwrap()
    };
    for host in ["web-1", "web-2", "web-1"] {
        let mut terminal = start(&["ssh", host]);
        assert!(!terminal.end().unwrap().success());
    }
    let mut terminal = start(&["ssh"]);
    terminal.wait_for("root@127.0.0.1:1").unwrap();
    let frame = last_frame(&terminal);
    let names: Vec<&str> = frame[3..]
        .iter()
        .map(|row| row[2..].split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["web-1", "web-2", "db-1"], "{frame:?}");
    terminal.type_in("\u{1b}").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(130));
}
