//! sudo that asks for a password: on a terminal, the user types it. Elsewhere, vctl reports that the password is
//! missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use vctl_tests::centre::PASSWORD;
use vctl_tests::lab::{installed, skip};

use super::{Administrator, shared};

#[test]
fn a_sudo_password_is_asked_only_on_a_terminal() {
    let Some(centre) = shared() else { return };
    if !installed("sudo") {
        return skip("there is no sudo");
    }
    let admin = Administrator::new(centre, "trust-sudo");
    let machine = admin.machine("trust-sudo-1");
    machine.sudo_asks().unwrap();
    let said = admin.run(&["trust-ca", "trust-sudo-1", "--sudo"]);
    assert_eq!(said.code, 77, "{said:?}");
    assert!(said.stderr.contains("asks for the password"), "{said:?}");
    assert!(!machine.etc_ssh("vault-ca.pub").exists());
    // Another run may have left some scripts.
    let before = brought();
    let mut terminal = admin.before_a_person(&["trust-ca", "trust-sudo-1", "--sudo"]);
    terminal.wait_for("[y/N]").unwrap();
    terminal.type_in("y\r").unwrap();
    terminal.wait_for("password for").unwrap();
    terminal.wait_for_silence().unwrap();
    terminal.type_in(&format!("{PASSWORD}\r")).unwrap();
    let end = terminal.end().unwrap();
    let shown = terminal.shown();
    assert_eq!(end.code(), Some(0), "{shown}");
    assert!(shown.contains("trust-sudo-1 trusts SHA256:"), "{shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");
    assert!(admin.logs_in("trust-sudo-1"));
    assert!(admin.applied("trust-sudo-1"));
    // The uploaded script is deleted.
    let left = brought();
    assert!(left.is_subset(&before), "{left:?}");
}

/// Returns the uploaded scripts that are still on this machine.
fn brought() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir("/tmp").unwrap();
    let scripts = entries.map(|entry| entry.unwrap().path().join("script"));
    let is_ours =
        |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("vctl_trust_ca"));
    scripts.filter(is_ours).collect()
}
