//! The lab itself: what everything else here stands on.

use vctl_tests::lab::{Lab, Options};

#[test]
fn a_lab_lets_a_certificate_in_and_leaves_nothing_behind() {
    let Some(lab) = Lab::or_skip(&Options::default()) else {
        return;
    };
    let alice = lab.certificate("alice", 11).unwrap();
    assert_eq!(lab.ssh_ok(&alice, "id -un").unwrap().trim(), lab.user());
    assert_eq!(lab.ssh_ok(&alice, "sudo -n id -un").unwrap().trim(), "root");
    let (user, root) = (lab.user().to_owned(), lab.root().to_owned());
    let failures = lab.end();
    assert!(failures.is_empty(), "{failures:?}");
    assert!(nix::unistd::User::from_name(&user).unwrap().is_none());
    assert!(!root.exists());
}
