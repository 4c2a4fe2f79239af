//! The snippets of `deploy/host-image`, without their optional parts. `cargo xtask image --test` boots a Debian with all.

use std::fs;
use std::path::Path;

use vctl_tests::lab::{installed, skip};

use super::host;

#[test]
fn cloud_init_sets_up_a_host_without_optional_files() {
    let Some(host) = host() else { return };
    let user_data = include_str!("../../../deploy/host-image/cloud-init.yaml");
    let (_, commands) = user_data.split_once("\nruncmd:\n  - |\n").unwrap();
    let digest =
        host.ok("echo package > $WORK/package; sha256sum < $WORK/package | cut -d ' ' -f 1");
    let commands = commands.replace("@PACKAGE_SHA256@", digest.trim());
    // Only the steps of setup are real: the package and the script for the SSH CA have specs of their own.
    host.ok(
        "printf '#!/bin/sh\ncp $WORK/package \"$2\"\n' > /usr/local/bin/curl
         printf '#!/bin/sh\n' | tee /usr/local/bin/dpkg > /run/vctl-trust-ca.sh
         chmod +x /usr/local/bin/curl /usr/local/bin/dpkg; rm -rf /etc/vctl",
    );
    host.ok(&format!(
        "cat > $WORK/runcmd <<'TEXT'\n{commands}\nTEXT\nsh $WORK/runcmd"
    ));
    host.ok("grep -q 'vctl-agent stamp' /etc/pam.d/sshd && systemctl is-active vctl-enroll.path");
    assert_eq!(host.ok("stat -c %a /etc/vctl"), "700\n");
}

#[test]
fn ansible_finds_enrolments_from_any_directory() {
    if !installed("ansible-playbook") {
        skip("`ansible-playbook` is not installed");
        return;
    }
    let Some(host) = host() else { return };
    let playbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/host-image/ansible.yaml");
    let playbook = fs::read_to_string(playbook).unwrap();
    // The last tasks need systemd.
    let (playbook, _) = playbook.split_once("    # An attempt of").unwrap();
    host.ok(&format!(
        "mkdir -p $WORK/playbook/enrolments; echo '{{}}' > $WORK/playbook/enrolments/web-1.json
         cat > $WORK/playbook/ansible.yaml <<'TEXT'\n{playbook}\nTEXT"
    ));
    let play = |options: &str| {
        host.run(&format!(
            "cd /; ANSIBLE_HOME=$WORK/ansible ansible-playbook --check --diff --connection local --inventory web-1, \
             $WORK/playbook/ansible.yaml {options}"
        ))
    };
    let copied = play("--start-at-task 'Look for the role id of an earlier enrolment'");
    assert_eq!(copied.code, Some(0), "{}", copied.text);
    assert!(copied.text.contains("changed=1"), "{}", copied.text);
    let refused = play("-e vctl_enrolments=enrolments");
    assert_eq!(refused.code, Some(2), "{}", refused.text);
    let reason = "vctl_enrolments must be an absolute path";
    assert!(refused.text.contains(reason), "{}", refused.text);
}
