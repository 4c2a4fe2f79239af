//! The maintainer scripts of the package `vctl-agent`, run with the words of dpkg.

use super::host::{Ran, SetupHost};
use super::{SETUP, host};

const UNITS: &str = "cp $REPOSITORY/deploy/audit/systemd/vctl-*.service $REPOSITORY/deploy/audit/systemd/vctl-enroll.path \
     $REPOSITORY/deploy/nats/systemd/vctl-ingest.service $REPOSITORY/deploy/node/systemd/*.service /usr/lib/systemd/system/";

fn script(host: &SetupHost, name_and_words: &str) -> Ran {
    host.run(&format!(
        "sh $REPOSITORY/deploy/packages/vctl-agent/{name_and_words}"
    ))
}

fn succeeds(host: &SetupHost, name_and_words: &str) -> String {
    let ran = script(host, name_and_words);
    assert_eq!(ran.code, Some(0), "{name_and_words}: {}", ran.text);
    ran.text
}

#[test]
fn an_upgrade_never_waits_for_the_jetstream_consumer() {
    let Some(host) = host() else { return };
    host.ok(UNITS);
    for (state, restarts) in [
        ("active", true),
        ("activating", true),
        ("reloading", true),
        ("inactive", false),
        ("failed", false),
    ] {
        host.ok(&format!(
            "rm -f /run/systemctl.log; echo {state} > /run/vctl-ingest.service.state"
        ));
        succeeds(&host, "postinst configure 0.0.1");
        let log = host.ok("grep vctl-ingest /run/systemctl.log");
        let restart = if restarts {
            "--no-block restart vctl-ingest.service\n"
        } else {
            ""
        };
        assert_eq!(log, format!("is-active vctl-ingest.service\n{restart}"));
    }
}

#[test]
fn a_refused_removal_leaves_the_path_unit_as_it_was() {
    let Some(host) = host() else { return };
    host.ok(UNITS);
    host.ok("vctl-agent pam-line add");
    for start in ["true", "systemctl start vctl-enroll.path"] {
        host.ok(start);
        let state = "systemctl is-active vctl-enroll.path || true";
        let before = host.ok(state);
        let refused = script(&host, "prerm remove");
        assert_eq!(refused.code, Some(1), "{}", refused.text);
        assert_eq!(host.ok(state), before);
    }
    // Words of dpkg after a failure, and before an upgrade: they change nothing.
    host.ok("rm /run/systemctl.log");
    for words in [
        "postinst abort-remove",
        "postinst abort-upgrade 0.0.1",
        "prerm upgrade 0.0.1",
        "prerm failed-upgrade 0.0.1",
        "postrm upgrade 0.0.1",
        "postrm failed-upgrade 0.0.1",
        "postrm abort-install",
        "postrm abort-upgrade 0.0.1",
    ] {
        assert_eq!(succeeds(&host, words), "", "{words}");
    }
    host.ok("test ! -e /run/systemctl.log && systemctl is-active vctl-enroll.path");
}

#[test]
fn a_copy_of_a_pam_file_does_not_stop_the_removal() {
    let Some(host) = host() else { return };
    host.ok(SETUP);
    for end in [
        ".ucf-old",
        ".ucf-dist",
        ".dpkg-old",
        ".dpkg-bak",
        ".rpmsave",
        "~",
    ] {
        host.ok(&format!("cp /etc/pam.d/sshd /etc/pam.d/sshd{end}"));
    }
    succeeds(&host, "prerm remove");
    host.ok("! grep -q vctl-agent /etc/pam.d/sshd");
}

#[test]
fn a_purge_says_what_it_deletes_and_keeps_replaced_files() {
    let Some(host) = host() else { return };
    host.ok(SETUP);
    // A damaged journal: the undo fails, and only it knows which files it must restore.
    host.ok("vctl-agent pam-line remove; echo '{' > /var/lib/vctl/setup/journal.json; ls /var/lib/vctl/setup > $WORK/kept");
    let removed = succeeds(&host, "prerm remove");
    assert!(removed.contains("`setup --undo` failed"), "{removed}");
    host.ok("rm -rf /var/lib/vctl/spool && mkdir /var/lib/vctl/spool &&
         head -c 3000000 /dev/zero > /var/lib/vctl/spool/batch");
    let purged = succeeds(&host, "postrm purge");
    assert!(purged.contains("deleting 2.9M of records"), "{purged}");
    assert!(purged.contains("kept /var/lib/vctl/setup: "), "{purged}");
    host.ok("ls /var/lib/vctl/setup | diff - $WORK/kept && test $(ls -A /var/lib/vctl) = setup");
    host.ok("rm -r /var/lib/vctl/setup; mkdir /var/lib/vctl/spool");
    assert_eq!(succeeds(&host, "postrm purge"), "");
    host.ok("test ! -e /var/lib/vctl");
}

#[test]
fn a_removal_in_a_chroot_leaves_no_link_and_no_other_probe() {
    let Some(host) = host() else { return };
    host.ok(UNITS);
    host.ok(SETUP);
    host.ok("vctl-agent setup --root $WORK/tree --yes");
    // systemctl of this machine, which works without systemd.
    host.ok(
        "cd $WORK/tree && mkdir -p sys proc run && mount --rbind /sys sys && mount --bind /proc proc && mkdir -p run/vctl && mount --bind /run/vctl run/vctl &&
         cp $REPOSITORY/deploy/packages/vctl-agent/p* . && test -e sys/fs/bpf/vctl",
    );
    let inside = "PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $WORK/tree";
    let enable = format!("{inside} systemctl enable vctl-enroll.path vctl-ingest.service");
    let links = "find $WORK/tree/etc/systemd/system -name 'vctl-*'";
    host.ok(&enable);
    assert!(host.ok(links).contains("wants/vctl-collect.service"));
    // As after a setup inside.
    host.ok(r#"sed -i 's|"changes": \[|&{"kind": "directory", "path": "/run/vctl"},|' $WORK/tree/var/lib/vctl/setup/journal.json"#);
    host.ok("grep -q /run/vctl $WORK/tree/var/lib/vctl/setup/journal.json");
    host.ok(&format!("{inside} sh /prerm remove"));
    assert_eq!(host.ok(links), "");
    host.ok("test -S /run/vctl/agent.sock");
    host.ok(&enable);
    host.ok("mkdir $WORK/tree/etc/systemd/system/vctl-enroll.service.d");
    host.ok(&format!("{inside} sh /postrm purge"));
    assert_eq!(host.ok(links), "");
    host.ok("test -S /run/vctl/agent.sock && ls /sys/fs/bpf/vctl/* > /dev/null && kill -0 $(cat /run/vctl-collect.service.pid)");
}

#[test]
fn a_setup_that_runs_stops_the_removal() {
    let Some(host) = host() else { return };
    host.ok(UNITS);
    host.ok("systemctl start vctl-enroll.path");
    let stamp = "session required pam_exec.so /usr/sbin/vctl-agent stamp";
    // The undo waits in vain; a setup adds its line after the undo.
    for (command, reason) in [
        (
            "setup) exit 75".to_owned(),
            "not removed, because a setup runs",
        ),
        (
            format!("detach) echo '{stamp}' >> /etc/pam.d/login"),
            "not removed, because these PAM lines need it:\n/etc/pam.d/login:session required",
        ),
    ] {
        host.ok(&format!(
            "rm /usr/sbin/vctl-agent; cat > /usr/sbin/vctl-agent <<'TEXT'
#!/bin/sh
case \"$1\" in {command} ;; esac
TEXT
             chmod 755 /usr/sbin/vctl-agent"
        ));
        let refused = script(&host, "prerm remove");
        assert_eq!(refused.code, Some(1), "{}", refused.text);
        assert!(refused.text.contains(reason), "{}", refused.text);
        host.ok("systemctl is-active vctl-enroll.path");
    }
}

#[test]
fn setup_waits_a_minute_for_another_one() {
    let Some(host) = host() else { return };
    let other = |seconds: u32| {
        host.ok(&format!(
            "setsid flock /etc sleep {seconds} > /dev/null 2>&1 & until ! flock -n /etc true; do sleep 0.05; done"
        ));
    };
    let waits = "Another `vctl-agent setup` runs: waiting until it ends.\n";
    other(3);
    assert!(host.ok(SETUP).starts_with(waits));
    other(100);
    let busy = host.run("vctl-agent setup --undo --yes");
    assert_eq!(busy.code, Some(75), "{}", busy.text);
    assert!(busy.text.starts_with(waits), "{}", busy.text);
    assert!(
        busy.text.contains("hint: wait until it ends"),
        "{}",
        busy.text
    );
}
