//! What a host has after a setup that failed, and after an undo on a host that had units before.

use super::enrolments::start_vault;
use super::{ENROLMENT, SETUP, host};

/// The unit of an earlier release, which has this name and is no collector.
const FORMER_UNIT: &str = "printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > /etc/systemd/system/vctl-collect.service";
const PACKAGED: &str =
    "cp $REPOSITORY/deploy/audit/systemd/vctl-collect.service /usr/lib/systemd/system/";

#[test]
fn a_used_enrolment_survives_a_setup_that_fails() {
    let Some(host) = host() else { return };
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{ENROLMENT}\nTEXT"
    ));
    let setup = format!("{SETUP} --enroll $WORK/web-1.json");
    let secrets = "cat /etc/vctl/role_id /etc/vctl/secret_id";
    let fails = "echo 'enable --now vctl-node-agent.service' > /run/fail";
    host.ok(fails);
    // Not used yet: nothing stays.
    let failed = host.run(&setup);
    assert_eq!(failed.code, Some(1), "{}", failed.text);
    host.ok("test ! -e /etc/vctl/secret_id; test ! -e /var/lib/vctl/setup");
    // The agent unwraps the secret id as soon as it runs.
    host.ok("echo 'echo unwrapped > /etc/vctl/secret_id' > /run/meanwhile");
    let failed = host.run(&setup);
    assert_eq!(failed.code, Some(1), "{}", failed.text);
    let kept = "kept: /etc/vctl/role_id, /etc/vctl/secret_id, because";
    assert!(failed.text.contains(kept), "{}", failed.text);
    let id = "11111111-1111-1111-1111-111111111111";
    let used = host.ok(secrets);
    assert!(used.contains(id) && used.ends_with("unwrapped\n"), "{used}");
    assert!(!host.ok("cat /etc/vctl/agent.yaml").contains("vault_addr"));
    // A second failure keeps it, too, and the next setup does not write the used one again.
    assert_eq!(host.run(&setup).code, Some(1));
    assert_eq!(host.ok(secrets), used);
    host.ok("rm /run/fail /run/meanwhile");
    let done = host.run(&setup);
    assert!(
        done.text.contains("add one line to /etc/pam.d/sshd"),
        "{}",
        done.text
    );
    assert!(!done.text.contains("secret_id"), "{}", done.text);
    assert_eq!(host.ok(secrets), used);
    host.ok("vctl-agent setup --undo --yes; test ! -e /etc/vctl/secret_id; test ! -e /var/lib/vctl/setup");
}

#[test]
fn a_unit_that_is_no_collector_is_replaced() {
    let Some(host) = host() else { return };
    host.ok(&format!(
        "{PACKAGED}; {FORMER_UNIT}; systemctl enable --now vctl-collect.service"
    ));
    let before = host.files("");
    let done = host.ok(SETUP);
    assert!(
        done.contains("remove /etc/systemd/system/vctl-collect.service"),
        "{done}"
    );
    let options = "tr '\\0' ' ' < /proc/$(cat /run/vctl-collect.service.pid)/cmdline";
    assert_eq!(host.ok(options), "/usr/sbin/vctl-agent collect --local ");
    let undone = host.ok("vctl-agent setup --undo --yes");
    assert!(
        undone.contains("restart vctl-collect.service, which ran before"),
        "{undone}"
    );
    assert_eq!(host.files(""), before);
    assert_eq!(host.ok(options), "sleep infinity ");
}

#[test]
fn no_pam_line_without_a_collector_that_answers() {
    let Some(host) = host() else { return };
    // A user's copy that starts something else at the end.
    host.ok(&format!(
        "{PACKAGED}; printf '[Service]\\n#vctl-agent\\nExecStart=/bin/sleep infinity # vctl-agent\\n' \
             > /etc/systemd/system/vctl-collect.service"
    ));
    let before = host.files("");
    let failed = host.run(SETUP);
    assert_eq!(failed.code, Some(1), "{}", failed.text);
    assert!(
        failed.text.contains("the collector does not answer at"),
        "{}",
        failed.text
    );
    assert_eq!(host.files(""), before);
}

#[test]
fn undo_keeps_an_edit_that_a_second_setup_went_over() {
    let Some(host) = host() else { return };
    host.ok(SETUP);
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{ENROLMENT}\nTEXT"
    ));
    host.ok(&format!(
        "{SETUP} --enroll $WORK/web-1.json; echo '# ours' >> /etc/vctl/agent.yaml"
    ));
    host.ok("vctl-agent pam-line remove");
    // It adds `mode: strict` behind the edit.
    let second = host.run(&format!("{SETUP} --strict"));
    let done = "done: replace /etc/vctl/agent.yaml";
    assert!(second.text.contains(done), "{}", second.text);
    let undone = host.ok("vctl-agent setup --undo --yes");
    assert!(
        undone.contains("kept: /etc/vctl/agent.yaml was edited"),
        "{undone}"
    );
    assert!(host.ok("cat /etc/vctl/agent.yaml").contains("# ours"));
}

#[test]
fn undo_finds_the_file_of_a_crash_in_the_pam_directory() {
    let Some(host) = host() else { return };
    host.ok("ls -A /etc/pam.d > $WORK/before");
    host.ok(SETUP);
    // As after a crash while the file was written.
    host.ok("cp /etc/pam.d/sshd /etc/pam.d/.sshd.new");
    host.ok("sed -i 's/\"complete\": true/\"complete\": false/' /var/lib/vctl/setup/journal.json");
    let refused = host.run(SETUP);
    assert!(
        refused.text.contains("vctl-agent setup --undo"),
        "{}",
        refused.text
    );
    host.ok("vctl-agent setup --undo --yes");
    host.ok("ls -A /etc/pam.d | diff $WORK/before -");
}

#[test]
fn undo_after_a_used_enrolment_restores_the_first_bytes() {
    let Some(host) = host() else { return };
    start_vault(&host);
    host.ok(
        "mkdir -m 700 /var/lib/vctl /var/lib/vctl/spool /var/lib/vctl/pending; mkdir /run/vctl
         cd /etc/vctl; echo '# first' >> agent.yaml; echo first-role > role_id; echo first-secret > secret_id
         chmod 600 role_id secret_id",
    );
    let before = host.files("");
    let setup = format!("{SETUP} --enroll $WORK/web-1.json");
    host.ok("echo 'enable --now vctl-node-agent.service' > /run/fail");
    host.ok("echo 'echo unwrapped > /etc/vctl/secret_id' > /run/meanwhile");
    let failed = host.run(&setup);
    let kept = "kept: /etc/vctl/role_id, /etc/vctl/secret_id, because";
    assert!(failed.text.contains(kept), "{}", failed.text);
    host.ok("rm /run/fail /run/meanwhile");
    // It copies agent.yaml beside the copies of the two files.
    let done = host.run(&setup);
    let step = "done: replace /etc/vctl/agent.yaml";
    assert!(done.text.contains(step), "{}", done.text);
    host.ok("vctl-agent setup --undo --yes");
    assert_eq!(host.files(""), before);
}

#[test]
fn an_enrolment_that_was_never_written_is_not_used() {
    let Some(host) = host() else { return };
    start_vault(&host);
    host.ok(
        "cd /etc/vctl; echo first-role > role_id; echo first-secret > secret_id; chmod 600 role_id secret_id",
    );
    let before = host.files("");
    // No step can write there.
    host.ok("mkdir /etc/vctl/.role_id.new");
    let failed = host.run(&format!("{SETUP} --enroll $WORK/web-1.json"));
    assert!(failed.text.contains("are undone"), "{}", failed.text);
    assert!(!failed.text.contains("kept: "), "{}", failed.text);
    host.ok("rmdir /etc/vctl/.role_id.new");
    assert_eq!(host.files(""), before);
}
