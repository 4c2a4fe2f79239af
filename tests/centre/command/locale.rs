//! Text for people uses the characters of the locale, and text for programs is UTF-8.

use std::process::Output;

use vctl_tests::lab::Programs;
use vctl_tests::terminal::Terminal;

use crate::fixture::programs::{stderr, stdout, vctl};
use crate::inventory::Inventory;

/// Locales with only ASCII characters.
const ASCII: [(&str, &str); 4] = [
    ("LC_ALL", "C"),
    ("LANG", "POSIX"),
    ("LC_CTYPE", "ko_KR.EUC-KR"),
    // No locale is set.
    ("LANG", ""),
];

fn run(inventory: &Inventory, locale: (&str, &str), args: &[&str]) -> Output {
    let mut command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        args,
    );
    command
        .env_remove("LANG")
        .env(locale.0, locale.1)
        .output()
        .unwrap()
}

#[test]
fn lists_help_and_errors_are_ascii_in_the_c_locale() {
    let Some(inventory) = Inventory::new("locales", &["vctl-user", "vctl-auditor"]) else {
        return;
    };
    inventory.with_hosts(&[
        ("web-1", "192.0.2.1", None),
        ("web-2", "192.0.2.2", Some("web-1")),
    ]);
    inventory.sql("update vctl.servers set dc = 'z\u{fc}rich'");
    let usual = ("LANG", "en_US.UTF-8");
    assert!(stdout(&run(&inventory, usual, &["list"])).contains("z\u{fc}rich \u{b7} 2 unknown"));
    for locale in ASCII {
        for args in [
            &["list"][..],
            &["list", "--wide"],
            &["list", "--route", "web-2"],
            &["fleet"],
            &["status"],
            &["whoami"],
            &["audit"],
            &["config"],
            &["--help"],
            &["help", "list"],
            &["session", "--help"],
            &["list", "m\u{fc}nchen"],
            &["l\u{ef}st"],
            &["list", "--dc", "m\u{fc}nchen"],
        ] {
            let output = run(&inventory, locale, args);
            let said = stdout(&output) + &stderr(&output);
            assert!(!said.is_empty(), "{locale:?} {args:?}");
            assert!(said.is_ascii(), "{locale:?} {args:?}: {said}");
        }
        let list = stdout(&run(&inventory, locale, &["list"]));
        assert!(
            list.contains(r"z\u00fcrich - 2 unknown"),
            "{locale:?}: {list}"
        );
        for form in ["json", "jsonl", "yaml", "csv"] {
            let shown = stdout(&run(&inventory, locale, &["list", "-o", form]));
            assert!(shown.contains("z\u{fc}rich"), "{locale:?} {form}: {shown}");
        }
    }
}

#[test]
fn the_list_to_choose_from_is_ascii_in_the_c_locale() {
    let Some(inventory) = Inventory::new("locale-picker", &["vctl-user", "vctl-admin"]) else {
        return;
    };
    inventory.with_hosts(&[("web-1", "192.0.2.1", None), ("web-2", "192.0.2.2", None)]);
    let args = ["edit", "--dc", "chosen"];
    let mut command = vctl(
        inventory.centre,
        &inventory.person,
        inventory.database,
        &args,
    );
    command.env("LC_ALL", "C");
    let mut terminal = Terminal::start(command, 80).unwrap();
    terminal.wait_for("Esc cancel").unwrap();
    terminal.wait_for("^/v move").unwrap();
    terminal.type_in("\u{1b}").unwrap();
    terminal.end().unwrap();
    assert!(terminal.shown().is_ascii(), "{}", terminal.shown());
}

#[test]
fn the_agents_text_is_ascii_in_the_c_locale() {
    let agent = Programs::find().unwrap().agent;
    let run = |locale: (&str, &str), args: &[&str]| {
        let mut command = std::process::Command::new(&agent);
        command.args(args).env_remove("LANG").env_remove("LC_ALL");
        command.env(locale.0, locale.1).output().unwrap()
    };
    let missing = ["check", "--config", "/nowhere/\u{fc}.yaml"];
    assert!(stderr(&run(("LANG", "C.UTF-8"), &missing)).contains('\u{fc}'));
    for locale in ASCII {
        for args in [
            &missing[..],
            &["help", "collect"],
            &["--help"],
            &["check", "--pin-dir", "/sys/fs/bpf/\u{fc}"],
        ] {
            let output = run(locale, args);
            let said = stdout(&output) + &stderr(&output);
            assert!(said.is_ascii(), "{locale:?} {args:?}: {said}");
        }
        let json = run(
            locale,
            &["check", "--spool-dir", "/nowhere/\u{fc}", "-o", "json"],
        );
        assert!(stdout(&json).contains('\u{fc}'), "{locale:?}: {json:?}");
    }
}
