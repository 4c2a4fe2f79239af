//! Links in the place of files that setup writes, restores or removes: their targets are not setup's.

use super::{ENROLMENT, SETUP, host};

const PACKAGED: &str =
    "cp $REPOSITORY/deploy/audit/systemd/vctl-collect.service /usr/lib/systemd/system/";
/// A unit of another program, in a directory that vctl does not know.
const OTHER_UNIT: &str = "mkdir -p /usr/local/other
     printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > /usr/local/other/vctl-collect.service
     ln -s /usr/local/other/vctl-collect.service /etc/systemd/system/vctl-collect.service";
const OTHER: &str = "stat -c '%n %i %a %U' /usr/local/other/* && cat /usr/local/other/*";

/// How a unit is masked, how the mask is removed, and the hint.
const MASKS: [(&str, &str, &str); 4] = [
    (
        "ln -s /dev/null /etc/systemd/system/vctl-collect.service",
        "rm /etc/systemd/system/vctl-collect.service",
        "systemctl unmask vctl-collect.service",
    ),
    (
        "ln -s ../../../dev/null /etc/systemd/system/vctl-collect.service",
        "rm /etc/systemd/system/vctl-collect.service",
        "systemctl unmask vctl-collect.service",
    ),
    (
        ": > /etc/systemd/system/vctl-collect.service",
        "rm /etc/systemd/system/vctl-collect.service",
        "systemctl unmask vctl-collect.service",
    ),
    (
        "ln -s /dev/null /run/systemd/system/vctl-collect.service",
        "rm /run/systemd/system/vctl-collect.service",
        "systemctl unmask --runtime vctl-collect.service",
    ),
];

#[test]
fn a_masked_unit_is_refused_and_dev_null_stays() {
    let Some(host) = host() else { return };
    for package in ["true", PACKAGED] {
        host.ok(package);
        for (mask, unmask, hint) in MASKS {
            host.ok(mask);
            let before = host.files("");
            let refused = host.run(SETUP);
            assert_eq!(refused.code, Some(1), "{mask}: {}", refused.text);
            assert!(
                refused.text.contains("`vctl-collect.service` is masked by"),
                "{mask}: {}",
                refused.text
            );
            let hint = format!("hint: {hint}\n");
            assert!(refused.text.contains(&hint), "{mask}: {}", refused.text);
            assert_eq!(host.files(""), before, "{mask}");
            host.ok("test -c /dev/null");
            host.ok(unmask);
        }
    }
    // In the tree of an image, whose unit no systemctl of this machine starts.
    let tree = host.ok("printf %s $WORK/tree");
    host.ok(&format!(
        "ln -s /dev/null {tree}/etc/systemd/system/vctl-collect.service"
    ));
    let refused = host.run(&format!("{SETUP} --root {tree}"));
    let hint = format!("hint: systemctl --root={tree} unmask vctl-collect.service\n");
    assert!(refused.text.contains(&hint), "{}", refused.text);
}

#[test]
fn a_linked_unit_is_replaced_and_its_target_stays() {
    let Some(host) = host() else { return };
    host.ok(OTHER_UNIT);
    let (before, other) = (host.files(""), host.ok(OTHER));
    for (package, step) in [
        ("true", "replace /etc/systemd/system/vctl-collect.service"),
        (
            PACKAGED,
            "remove the link /etc/systemd/system/vctl-collect.service",
        ),
    ] {
        host.ok(package);
        // The steps before the failed one are undone, too.
        host.ok("echo 'enable --now vctl-collect.service' > /run/fail");
        let failed = host.run(SETUP);
        assert!(failed.text.contains("are undone"), "{}", failed.text);
        assert_eq!(
            (host.files(""), host.ok(OTHER)),
            (before.clone(), other.clone())
        );
        host.ok("rm /run/fail");
        let done = host.ok(SETUP);
        assert!(done.contains(step), "{done}");
        host.ok("test ! -L /etc/systemd/system/vctl-collect.service");
        assert_eq!(host.ok(OTHER), other);
        host.ok("vctl-agent setup --undo --yes");
        assert_eq!(
            (host.files(""), host.ok(OTHER)),
            (before.clone(), other.clone())
        );
    }
}

#[test]
fn shipped_files_replace_links_and_undo_restores_them() {
    let Some(host) = host() else { return };
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{ENROLMENT}\nTEXT"
    ));
    host.ok(
        "mkdir -p /usr/local/other /etc/systemd/system/vctl-collect.service.d
         for name in tmpfiles.d/vctl.conf ssh/sshd_config.d/00-vctl.conf systemd/system/vctl-collect.service.d/centre.conf
         do
             echo '# of another program' > /usr/local/other/$(basename $name)
             ln -s /usr/local/other/$(basename $name) /etc/$name
         done",
    );
    // The host's own settings stay behind their link.
    host.ok("mv /etc/vctl/agent.yaml /usr/local/; ln -s /usr/local/agent.yaml /etc/vctl/");
    let (before, other) = (host.files(""), host.ok(OTHER));
    let settings = host.ok("cat /usr/local/agent.yaml");
    let enrolled = host.run(&format!("{SETUP} --enroll $WORK/web-1.json"));
    let done = "done: add one line to /etc/pam.d/sshd";
    assert!(enrolled.text.contains(done), "{}", enrolled.text);
    assert_eq!(host.ok(OTHER), other);
    host.ok("test -L /etc/vctl/agent.yaml; grep -q vault_addr /usr/local/agent.yaml");
    host.ok("vctl-agent setup --undo --yes");
    assert_eq!((host.files(""), host.ok(OTHER)), (before, other));
    assert_eq!(host.ok("cat /usr/local/agent.yaml"), settings);
}

#[test]
fn undo_follows_no_link_made_after_the_setup() {
    let Some(host) = host() else { return };
    host.ok(SETUP);
    host.ok(
        "mkdir -p /usr/local/other/run; touch /usr/local/other/run/kept
         mv /etc/tmpfiles.d/vctl.conf /usr/local/other/
         ln -s /usr/local/other/vctl.conf /etc/tmpfiles.d/vctl.conf
         mv /run/vctl /run/vctl-moved; ln -s /usr/local/other/run /run/vctl",
    );
    let undone = host.ok("vctl-agent setup --undo --yes");
    for path in ["/etc/tmpfiles.d/vctl.conf", "/run/vctl"] {
        let kept = format!("kept: {path} was replaced by a link after the setup\n");
        assert!(undone.contains(&kept), "{undone}");
    }
    host.ok("test -e /usr/local/other/run/kept; test -s /etc/tmpfiles.d/vctl.conf");
}

/// A link in the place of a file or directory, and a part of the reason.
const REFUSED: [(&str, &str); 4] = [
    (
        "mv /etc/vctl/agent.yaml /etc/vctl/old; ln -s /gone /etc/vctl/agent.yaml",
        "`/etc/vctl/agent.yaml` is a link without a target",
    ),
    (
        "ln -s /gone /etc/vctl/secret_id",
        "`/etc/vctl/secret_id` is a link without a target",
    ),
    (
        "ln -s /dev/null /etc/tmpfiles.d/vctl.conf",
        "`/etc/tmpfiles.d/vctl.conf` is not a regular file",
    ),
    (
        "ln -s /gone /etc/systemd/system/vctl-collect.service.d",
        "`/etc/systemd/system/vctl-collect.service.d` is not a directory",
    ),
];

#[test]
fn a_link_that_cannot_be_written_through_is_refused() {
    let Some(host) = host() else { return };
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{ENROLMENT}\nTEXT\ncp -a /etc $WORK/whole"
    ));
    for (damage, reason) in REFUSED {
        host.ok(damage);
        let before = host.files("");
        let refused = host.run(&format!("{SETUP} --enroll $WORK/web-1.json"));
        assert_eq!(refused.code, Some(1), "{damage}: {}", refused.text);
        assert!(refused.text.contains(reason), "{damage}: {}", refused.text);
        assert!(
            refused.text.contains("hint: "),
            "{damage}: {}",
            refused.text
        );
        assert_eq!(host.files(""), before, "{damage}");
        host.ok(
            "rm -rf /etc/vctl /etc/systemd/system/vctl-* /etc/tmpfiles.d/vctl.conf; cp -a $WORK/whole/vctl /etc/",
        );
    }
}
