//! A certificate has the extensions that the command asked for, and no others.

use std::fs;
use std::process::Command;

use vctl_tests::centre::Centre;

use crate::ssh_ca::trust_ca::{Administrator, shared};

/// Returns the extensions of a certificate, as OpenSSH prints them. The path of the certificate is in a line of
/// `shown`.
fn extensions(admin: &Administrator<'_>, shown: &str) -> Vec<String> {
    let start = shown.find("ssh-ed25519-cert-v01").expect(shown);
    let line = shown[start..].lines().next().unwrap();
    let path = admin.at.home("shown-cert.pub");
    fs::write(&path, line.trim()).unwrap();
    let printed = Command::new("ssh-keygen")
        .arg("-Lf")
        .arg(&path)
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let (_, extensions) = printed.split_once("Extensions:").expect(&printed);
    let lines = extensions
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[test]
fn certificates_permit_only_the_requested_features() {
    let Some(centre): Option<&Centre> = shared() else {
        return;
    };
    let admin = Administrator::new(centre, "extensions");
    let _machine = admin.machine("extensions-1");
    let said = admin.run(&["trust-ca", "extensions-1", "--sudo"]);
    assert_eq!(said.code, 0, "{said:?}");
    let show = ["extensions-1", "--", "cat $SSH_USER_AUTH"];
    let run = |options: &[&str]| {
        let said = admin.run(&[&["ssh", "-q"], options, &show].concat());
        assert_eq!(said.code, 0, "{said:?}");
        extensions(&admin, &said.stdout)
    };
    assert_eq!(run(&[]), ["(none)"]);
    assert_eq!(run(&["-D", "0"]), ["permit-port-forwarding"]);
    let show = [&["ssh", "-q", "-t"], &show[..]].concat();
    let mut terminal = admin.before_a_person(&show);
    terminal.end().unwrap();
    // The terminal wraps long lines on the screen only. The text has no extra line ends.
    assert_eq!(extensions(&admin, &terminal.shown()), ["permit-pty"]);
}
