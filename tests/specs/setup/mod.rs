//! `vctl-agent setup` prepares a host once, and leaves a host that it refuses as it was.

mod host;
mod packages;
mod units;

use vctl_tests::lab::{missing, skip};

use host::SetupHost;

const SETUP: &str = "vctl-agent setup --yes";

fn host() -> Option<SetupHost> {
    if let Some(why) = missing() {
        skip(&why);
        return None;
    }
    Some(SetupHost::start())
}

#[test]
fn setup_records_the_next_login_and_undo_restores_the_host() {
    let Some(host) = host() else { return };
    host.ok("/usr/sbin/sshd; until [ -s /run/sshd.pid ]; do sleep 0.05; done; cp /run/sshd.pid /run/ssh.service.pid");
    let before = host.files("");
    // Without a terminal and without `--yes`, the plan is printed and nothing is done.
    let asked = host.run("vctl-agent setup");
    assert_eq!(asked.code, Some(1), "{}", asked.text);
    assert!(
        asked
            .text
            .contains("add one line to /etc/pam.d/sshd: session required")
    );
    assert!(asked.text.contains("hint: pass `--yes`"), "{}", asked.text);
    assert_eq!(host.files(""), before);
    host.ok(SETUP);
    assert_eq!(
        host.ok("grep -c 'vctl-agent stamp' /etc/pam.d/sshd").trim(),
        "1"
    );
    // The configuration of the host had no `UsePAM yes`.
    assert!(host.ok("sshd -T").contains("usepam yes"));
    let login = "ssh -n -i $WORK/person -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                 person@127.0.0.1 'head -n 1 /etc/hosts'";
    host.ok(login);
    let session =
        "for _ in $(seq 100); do $WORK/vctl session --local 1002 && exit; sleep 0.1; done; exit 1";
    assert!(host.ok(session).contains("bob-cert"));
    // A second run changes no byte and no time.
    let times = "find /etc /var/lib/vctl/setup -printf '%p %T@ %C@\\n' | sort";
    let (files, changed) = (host.files(""), host.ok(times));
    assert!(host.ok(SETUP).contains("Nothing to do"));
    assert_eq!((host.files(""), host.ok(times)), (files, changed));
    host.ok("vctl-agent setup --undo --yes");
    assert_eq!(host.files(""), before);
    assert!(!host.ok("ls /sys/fs/bpf").contains("vctl"));
    assert!(
        host.ok("ls /var/lib/vctl").contains("spool"),
        "the records stay"
    );
    host.ok(login);
    assert!(
        host.ok("vctl-agent setup --undo --yes")
            .contains("Nothing to undo")
    );
}

#[test]
fn undo_refuses_while_a_line_added_by_hand_needs_it() {
    let Some(host) = host() else { return };
    host.ok("vctl-agent pam-line add");
    let before = host.files("");
    let refused = host.run("vctl-agent setup --undo --yes");
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    let reason = "was not added by setup\nhint: remove it: vctl-agent pam-line remove\n";
    assert!(refused.text.contains(reason), "{}", refused.text);
    assert_eq!(host.files(""), before);
}

#[test]
fn undo_works_after_sshd_was_removed() {
    let Some(host) = host() else { return };
    host.ok(SETUP);
    host.ok("rm /etc/pam.d/sshd /usr/sbin/sshd");
    host.ok("vctl-agent setup --undo --yes");
    host.ok("test ! -e /etc/pam.d/sshd; test ! -e /var/lib/vctl/setup");
}

/// How a host is damaged, how it is repaired, and a part of the reason.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "echo 'NoSuchKeyword yes' >> /etc/ssh/sshd_config",
        "sed -i '/NoSuchKeyword/d' /etc/ssh/sshd_config",
        "line 8: Bad configuration option: NoSuchKeyword",
    ),
    (
        "for _ in 1 2; do echo 'session required pam_exec.so /usr/sbin/vctl-agent stamp' >> /etc/pam.d/sshd; done",
        "sed -i '/vctl-agent/d' /etc/pam.d/sshd",
        "2 lines run `vctl-agent stamp`",
    ),
    (
        "echo 'session required pam_exec.so /opt/gone/vctl-agent stamp' >> /etc/pam.d/sshd",
        "sed -i '/vctl-agent/d' /etc/pam.d/sshd",
        "`/opt/gone/vctl-agent` is missing",
    ),
    (
        "sed -i '1i session required pam_env.so user_readenv=1' /etc/pam.d/sshd; \
         echo 'session required pam_exec.so /usr/sbin/vctl-agent stamp' >> /etc/pam.d/sshd",
        "sed -i '1d; /vctl-agent/d' /etc/pam.d/sshd",
        "can forge the certificate",
    ),
    (
        "umount /sys/fs/bpf; while umount /sys/fs/bpf 2> /dev/null; do :; done",
        "mount -t bpf none /sys/fs/bpf",
        "mount -t bpf bpf /sys/fs/bpf",
    ),
    (
        "printf '#!/bin/sh\\nexit 127\\n' > /usr/sbin/vctl-agent",
        "cp $WORK/vctl-agent /usr/sbin/",
        "does not run here",
    ),
    (
        "echo 'mode: best-effort' >> /etc/vctl/agent.yaml; set -- --strict",
        "sed -i /mode/d /etc/vctl/agent.yaml",
        "the setup needs `mode: strict`",
    ),
];

#[test]
fn an_unfit_host_is_refused_with_a_fix_and_stays_unchanged() {
    let Some(host) = host() else { return };
    let whole = host.files("");
    for (damage, repair, reason) in REFUSED {
        host.ok(damage);
        let before = host.files("");
        let option = if damage.contains("--strict") {
            "--strict"
        } else {
            ""
        };
        let refused = host.run(&format!("$WORK/vctl-agent setup --yes {option}"));
        assert_eq!(refused.code, Some(1), "{damage}: {}", refused.text);
        assert!(refused.text.contains(reason), "{damage}: {}", refused.text);
        assert!(
            refused.text.contains("hint: "),
            "{damage}: {}",
            refused.text
        );
        assert_eq!(host.files(""), before, "{damage}");
        host.ok(repair);
        assert_eq!(host.files(""), whole, "{repair}");
    }
}

#[test]
fn a_failed_step_undoes_the_steps_before_it() {
    let Some(host) = host() else { return };
    let before = host.files("");
    // The unit does not start; then the disk is full when the unit, the journal or the PAM file is written.
    let small = |at: &str| {
        format!(
            "mkdir -p $WORK/small && cp -a {at} $WORK/small/ && mount -t tmpfs -o mode=755,size=256k none {at} &&
             cp -a $WORK/small/$(basename {at})/. {at}/ && cat /dev/zero > {at}/.full || true"
        )
    };
    let faults = [
        (
            "echo 'enable --now vctl-collect.service' > /run/fail".to_owned(),
            "rm /run/fail".to_owned(),
            "`systemctl enable --now vctl-collect.service` failed",
        ),
        (
            small("/etc/pam.d"),
            "umount /etc/pam.d".to_owned(),
            "No space left on device",
        ),
        (
            small("/etc/tmpfiles.d"),
            "umount /etc/tmpfiles.d".to_owned(),
            "No space left on device",
        ),
    ];
    for (fault, repair, reason) in faults {
        host.ok(&fault);
        let failed = host.run(SETUP);
        assert_eq!(failed.code, Some(1), "{fault}: {}", failed.text);
        assert!(failed.text.contains(reason), "{fault}: {}", failed.text);
        host.ok(&repair);
        assert_eq!(host.files(""), before, "{fault}: {}", failed.text);
        let left = host.ok("ls /sys/fs/bpf; find /var/lib/vctl || true");
        let has_parts = left.contains("journal") || left.lines().any(|line| line == "vctl");
        assert!(!has_parts, "{fault}: {left}");
    }
    // The host is fit, and the faults left nothing in the way.
    host.ok(SETUP);
}

const ENROLMENT: &str = r#"{"host": "web-1", "role_id": "11111111-1111-1111-1111-111111111111",
    "wrapped_secret_id": "hvs.CAESIJ", "agent_config": "host: web-1\nvault_addr: https://vault.example.net\ndb_host: db.example.net\n"}"#;

#[test]
fn an_image_is_enrolled_once_and_restored_byte_for_byte() {
    let Some(host) = host() else { return };
    let tree = host.ok("printf %s $WORK/tree");
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{ENROLMENT}\nTEXT"
    ));
    host.ok("echo old > $WORK/tree/etc/systemd/system/vctl-node-agent.service");
    let before = host.files(&tree);
    let setup = format!("vctl-agent setup --root {tree} --yes --strict --enroll $WORK/web-1.json");
    host.ok(&setup);
    assert_eq!(
        host.ok(&format!(
            "cd {tree}/etc/vctl && cat agent.yaml && stat -c %a role_id secret_id ."
        )),
        "sshd_names: [none]\nhost: web-1\nvault_addr: https://vault.example.net\n\
         db_host: db.example.net\nmode: strict\n600\n600\n700\n"
    );
    let line = host.ok(&format!("grep vctl-agent {tree}/etc/pam.d/sshd"));
    assert!(line.contains("stamp --mode strict"), "{line}");
    host.ok(&format!(
        "test -L {tree}/etc/systemd/system/multi-user.target.wants/vctl-node-agent.service"
    ));
    // The agent unwraps the secret id and replaces it; a second setup must not bring the used one back.
    host.ok(&format!(
        "echo 22222222-unwrapped > {tree}/etc/vctl/secret_id"
    ));
    let once = host.files(&tree);
    assert!(host.ok(&setup).contains("Nothing to do"));
    assert_eq!(host.files(&tree), once);
    // A PAM file that was edited since loses only its line.
    host.ok(&format!("echo '# edited' >> {tree}/etc/pam.d/sshd"));
    host.ok(&format!("vctl-agent setup --root {tree} --undo --yes"));
    host.ok(&format!("sed -i '/^# edited$/d' {tree}/etc/pam.d/sshd"));
    assert_eq!(host.files(&tree), before);
}
