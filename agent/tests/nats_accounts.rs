//! `vctl-agent nats-accounts`: a list that is not valid does not change the file that a server reads.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's exception ends at the helpers of a test crate"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(directory: &Path, list: &str) -> Output {
    fs::write(directory.join("hosts"), list).unwrap();
    Command::new(env!("CARGO_BIN_EXE_vctl-agent"))
        .args(["nats-accounts", "hosts", "--out", "accounts.conf"])
        .current_dir(directory)
        .output()
        .unwrap()
}

#[test]
fn an_invalid_list_leaves_the_accounts_as_they_are() {
    let work = tempfile::tempdir().unwrap();
    let accounts = || fs::read_to_string(work.path().join("accounts.conf")).unwrap();
    let key = nkeys::KeyPair::new_user().public_key();
    assert!(run(work.path(), &format!("web-1 {key}\n")).status.success());
    let before = accounts();
    assert!(before.contains(&key));
    for (list, why) in [
        ("", "the list has no host"),
        ("# web-1\n", "the list has no host"),
        ("web-1\n", "line 1"),
        ("web-1 UABC\n", "is not a public key"),
    ] {
        let output = run(work.path(), list);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{list:?}");
        assert!(said.contains("hosts") && said.contains(why), "{said}");
        assert_eq!(accounts(), before);
    }
}
