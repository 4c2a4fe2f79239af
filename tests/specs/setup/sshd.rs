//! sshd reads the configuration of the setup: by its unit, or by a command that setup names.

use super::{ENROLMENT, SETUP, host};

#[test]
fn an_sshd_without_a_known_unit_gets_a_command() {
    let Some(host) = host() else { return };
    host.ok("/usr/sbin/sshd; until [ -s /run/sshd.pid ]; do sleep 0.05; done");
    let done = host.ok(SETUP);
    let step = "done: test sshd's configuration with `sshd -t`\n";
    assert!(done.contains(step), "{done}");
    let command = "kill -HUP $(cat /run/sshd.pid)";
    let next = format!(
        "Next: reload sshd, which runs without PAM and records no login until then: {command}\n"
    );
    assert!(done.contains(&next), "{done}");
    let login = "ssh -n -i $WORK/person -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                 person@127.0.0.1 'head -n 1 /etc/hosts'";
    let session =
        "for _ in $(seq 20); do $WORK/vctl session --local 1002 && exit; sleep 0.1; done; exit 1";
    host.ok(login);
    assert_eq!(host.run(session).code, Some(1), "sshd had reloaded itself");
    host.ok(&format!("{command}; sleep 0.5; {login}"));
    host.ok(session);
    let undone = host.ok("vctl-agent setup --undo --yes");
    let next =
        format!("Next: reload sshd, so that it reads its old configuration again: {command}\n");
    assert!(undone.contains(&next), "{undone}");
}

#[test]
fn a_failed_second_setup_reloads_sshd_without_its_snippet() {
    let Some(host) = host() else { return };
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{ENROLMENT}\nTEXT
         /usr/sbin/sshd; until [ -s /run/sshd.pid ]; do sleep 0.05; done; cp /run/sshd.pid /run/ssh.service.pid
         echo 'UsePAM yes' >> /etc/ssh/sshd_config"
    ));
    host.ok(SETUP);
    host.ok("sed -i '/UsePAM/d' /etc/ssh/sshd_config");
    let before = host.files("");
    host.ok("echo 'enable --now vctl-node-agent.service' > /run/fail");
    let failed = host.run(&format!("{SETUP} --enroll $WORK/web-1.json"));
    let reload = "done: test sshd's configuration with `sshd -t`, and reload ssh.service\n";
    assert!(failed.text.contains(reload), "{}", failed.text);
    assert_eq!(host.files(""), before);
    assert_eq!(
        host.ok("grep -c 'reload ssh.service' /run/systemctl.log"),
        "2\n"
    );
}
