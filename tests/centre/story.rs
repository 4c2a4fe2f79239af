//! The whole way, as two people and an auditor go it: `vctl login`, `vctl ssh`, work, `vctl audit`,
//! `vctl session`, through OpenBao, Postgres, sshd and the kernel.

use std::process::Command;

use vctl_tests::centre::Centre;
use vctl_tests::lab::{Programs, missing};

#[test]
fn two_people_on_one_account_are_told_apart() {
    // Says what is missing, or fails where nothing may be.
    if Centre::shared().is_none() || missing().is_some() {
        return;
    }
    let program = Programs::find().unwrap().directory.join("demo");
    let output = Command::new(program).arg("--centre").output().unwrap();
    let (said, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{errors}");
    let act = said
        .split_once("The second act")
        .map(|(_, act)| act)
        .expect("there was no second act");
    for name in ["alice", "bob"] {
        let verdict = format!("ok: {name}'s timeline shows 6 of 6 of {name}'s commands, 0 of ");
        assert!(act.contains(&verdict), "{said}");
        // As the certificate says, and by who asked for it: not only by the serial.
        let who = format!("\n  who       {name}\n");
        assert!(act.contains(&who), "{said}");
    }
    assert_eq!(act.matches("\n  asked     ").count(), 2, "{said}");
    assert!(!act.contains("\n  asked     by "), "{said}");
    assert_eq!(act.matches("complete: all ").count(), 2, "{said}");
}
