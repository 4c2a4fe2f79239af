//! `vctl-agent setup` prepares a host once, and leaves a host that it refuses as it was.

mod confinement;
mod enrolments;
mod host;
mod host_image;
mod images;
mod links;
mod packages;
mod recovery;
mod scripts;
mod sshd;
mod units;
mod upgrade;

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
    // The configuration of the host had no `UsePAM yes`. With PAM, keyboard-interactive would accept passwords.
    let settings = host.ok("sshd -T");
    assert!(settings.contains("usepam yes"), "{settings}");
    let methods = "passwordauthentication no\nkbdinteractiveauthentication no\n";
    assert!(settings.contains(methods), "{settings}");
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
    let undone = host.ok("vctl-agent setup --undo --yes");
    let directory = "remove the directory /var/lib/vctl if it is empty\n";
    assert_eq!(undone.matches(directory).count(), 1, "{undone}");
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
fn undo_unloads_the_probe_of_a_host_with_packaged_files() {
    let Some(host) = host() else { return };
    // Only the unit and the PAM line are left for the setup.
    host.ok(
        "cp $REPOSITORY/deploy/audit/systemd/vctl-collect.service /usr/lib/systemd/system/
             cp $REPOSITORY/deploy/audit/tmpfiles.d/vctl.conf /usr/lib/tmpfiles.d/
             mkdir -m 700 /var/lib/vctl /var/lib/vctl/spool /var/lib/vctl/pending; mkdir /run/vctl
             echo 'UsePAM yes' >> /etc/ssh/sshd_config",
    );
    let before = host.files("");
    host.ok(SETUP);
    host.ok("ls /sys/fs/bpf/vctl");
    let undone = host.ok("vctl-agent setup --undo --yes");
    let steps = "1. remove the PAM line from /etc/pam.d/sshd\n  \
                 2. stop and disable vctl-collect.service\n  3. unload the probe\n";
    assert!(undone.contains(steps), "{undone}");
    assert_eq!(host.files(""), before);
    assert!(!host.ok("ls /sys/fs/bpf").contains("vctl"));
}

#[test]
fn a_second_setup_that_fails_restores_the_first_one() {
    let Some(host) = host() else { return };
    host.ok(SETUP);
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{ENROLMENT}\nTEXT"
    ));
    // A user's edit stays: setup replaces only its own text.
    host.ok("echo '# ours' >> /etc/systemd/system/vctl-collect.service");
    let (before, journal) = (host.files(""), "cat /var/lib/vctl/setup/journal.json");
    let first = host.ok(journal);
    host.ok("echo 'enable --now vctl-node-agent.service' > /run/fail");
    let failed = host.run(&format!("{SETUP} --enroll $WORK/web-1.json"));
    assert_eq!(failed.code, Some(1), "{}", failed.text);
    let kept = "kept: /etc/systemd/system/vctl-collect.service was edited after the setup\n";
    assert!(failed.text.contains(kept), "{}", failed.text);
    assert_eq!((host.files(""), host.ok(journal)), (before, first));
    // The collector that shipped was replaced by the one of the first setup.
    let options = "tr '\\0' ' ' < /proc/$(cat /run/vctl-collect.service.pid)/cmdline";
    assert_eq!(host.ok(options), "/usr/sbin/vctl-agent collect --local ");
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
        "line 7: Bad configuration option: NoSuchKeyword",
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
    (
        "chmod 664 /etc/vctl/agent.yaml",
        "chmod 644 /etc/vctl/agent.yaml",
        "`/etc/vctl/agent.yaml` can be written by others than root",
    ),
    (
        "mount -t tmpfs none /sys/kernel/security; mkdir /sys/kernel/security/apparmor; \
         echo '/usr/sbin/sshd (enforce)' > /sys/kernel/security/apparmor/profiles",
        "umount /sys/kernel/security",
        "AppArmor confines sshd",
    ),
    (
        "set -- setpriv --reuid=65534 --clear-groups",
        "true",
        "setup needs root",
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
        let user = damage.strip_prefix("set -- ").unwrap_or_default();
        let refused = host.run(&format!("{user} $WORK/vctl-agent setup --yes {option}"));
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
fn a_failed_setup_leaves_a_running_collector_alone() {
    let Some(host) = host() else { return };
    host.ok(
        "printf '#!/bin/sh\necho The collector is ready\nexec sleep infinity\n' > /usr/local/bin/by-hand
         chmod +x /usr/local/bin/by-hand
         printf '[Service]\nExecStart=/usr/local/bin/by-hand\n' > /etc/systemd/system/vctl-collect.service
         systemctl restart vctl-collect.service
         echo daemon-reload > /run/fail",
    );
    let failed = host.run(SETUP);
    assert_eq!(failed.code, Some(1), "{}", failed.text);
    let reason = "`systemctl daemon-reload` failed";
    assert!(failed.text.contains(reason), "{}", failed.text);
    host.ok("rm /run/fail; kill -0 $(cat /run/vctl-collect.service.pid)");
    host.ok("! systemctl is-enabled vctl-collect.service");
    host.ok("grep -q by-hand /etc/systemd/system/vctl-collect.service");
    let log = host.ok("cat /run/systemctl.log");
    assert!(!log.contains("disable --now vctl-collect.service"), "{log}");
}

#[test]
fn a_failed_step_undoes_the_steps_before_it() {
    let Some(host) = host() else { return };
    let before = host.files("");
    // The unit does not start; then the disk is full when the PAM file, the tmpfiles file or the unit is written. A
    // full disk of the spool and the journal is refused before the first step.
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
        (
            small("/var/lib"),
            "umount /var/lib".to_owned(),
            "the check `spool` fails",
        ),
        (
            small("/etc/systemd/system"),
            "umount /etc/systemd/system".to_owned(),
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
