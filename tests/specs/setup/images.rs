//! `vctl-agent setup --root`: an image is set up like a host, and refused if its host could not record or log in.

use super::{ENROLMENT, host};

/// How an image is damaged, and a part of the reason.
const REFUSED: [(&str, &str); 10] = [
    (
        "mkdir -p etc/selinux; echo SELINUX=enforcing > etc/selinux/config",
        "SELinux is enforcing",
    ),
    // The file of this machine, not that of the image, would be edited.
    (
        "ln -sf /etc/pam.d/sshd etc/pam.d/sshd",
        "etc/pam.d/sshd` is a link that leaves the image",
    ),
    (
        "rm -rf etc/vctl; ln -s /etc/vctl etc/vctl",
        "etc/vctl` is a link that leaves the image",
    ),
    // The agent of the image would refuse it, and a strict line then every login.
    (
        "chown 1000 etc/vctl/agent.yaml",
        "tree/etc/vctl/agent.yaml` is not owned by root, so the agent would refuse it\nhint: chown root:root ",
    ),
    (
        "chmod 664 etc/vctl/agent.yaml",
        "tree/etc/vctl/agent.yaml` can be written by others than root",
    ),
    (
        "echo 'mode: often' >> etc/vctl/agent.yaml",
        "tree/etc/vctl/agent.yaml:2: ",
    ),
    // Two kernels, of which the second would refuse the probe.
    (
        "mkdir boot; printf 'CONFIG_BPF_SYSCALL=y\nCONFIG_DEBUG_INFO_BTF=y\n' > boot/config-6.1.0-50-amd64; \
         printf 'CONFIG_BPF_SYSCALL=y\n# CONFIG_DEBUG_INFO_BTF is not set\n' > boot/config-6.12.1-arch",
        "the kernel 6.12.1-arch has no BTF: `/boot/config-6.12.1-arch` lacks `CONFIG_DEBUG_INFO_BTF=y`",
    ),
    (
        "mkdir boot; printf 'CONFIG_DEBUG_INFO_BTF=y\nCONFIG_BPF_SYSCALL=m\n' > boot/config-6.1.0-50-amd64",
        "has no BPF",
    ),
    (
        "mkdir -p usr/lib/modules/6.6.1/kernel; echo CONFIG_BPF_SYSCALL=y > usr/lib/modules/6.6.1/config",
        "`/usr/lib/modules/6.6.1/config` lacks `CONFIG_DEBUG_INFO_BTF=y`",
    ),
    (
        "mkdir boot; touch boot/vmlinuz-5.10.0-32-amd64",
        "the image has the kernel 5.10.0-32-amd64",
    ),
];

#[test]
fn an_image_that_would_lock_users_out_is_refused() {
    let Some(host) = host() else { return };
    let tree = host.ok("printf %s $WORK/tree");
    host.ok("cp -a $WORK/tree/etc $WORK/etc-of-tree; mkdir $WORK/bin; ln -s /usr/sbin/chroot $WORK/bin/");
    let machine = host.files("");
    let setup = format!("vctl-agent setup --root {tree} --yes");
    let mut refusals: Vec<_> = REFUSED
        .iter()
        .flat_map(|(damage, reason)| {
            let strict = format!("{setup} --strict");
            [setup.clone(), strict].map(|setup| (*damage, setup, *reason))
        })
        .collect();
    // No systemctl can enable the collector that a strict login needs.
    let strict = format!("PATH=$WORK/bin /usr/sbin/{setup} --strict");
    refusals.push(("true", strict, "this machine has no systemctl"));
    for (damage, setup, reason) in refusals {
        host.ok(&format!("cd {tree} && {damage}"));
        let before = host.files(&tree);
        let refused = host.run(&setup);
        assert_eq!(refused.code, Some(1), "{damage}: {}", refused.text);
        assert!(refused.text.contains(reason), "{damage}: {}", refused.text);
        assert!(
            refused.text.contains("hint: "),
            "{damage}: {}",
            refused.text
        );
        assert!(
            !refused.text.contains(".vctl-agent-setup-"),
            "{}",
            refused.text
        );
        assert_eq!(
            (host.files(&tree), host.files("")),
            (before, machine.clone())
        );
        host.ok("rm -rf $WORK/tree/etc $WORK/tree/boot /usr/lib/modules; cp -a $WORK/etc-of-tree $WORK/tree/etc");
    }
    host.ok(&setup);
}

#[test]
fn a_strict_image_needs_the_configuration_of_its_kernel() {
    let Some(host) = host() else { return };
    let tree = host.ok("printf %s $WORK/tree");
    let setup = |option: &str| host.run(&format!("vctl-agent setup --root {tree} --yes {option}"));
    let undo = format!("vctl-agent setup --root {tree} --undo --yes");
    // An image for a container, or for a kernel from elsewhere.
    let done = setup("--strict");
    assert_eq!(done.code, Some(0), "{}", done.text);
    let next = "Next: the image has no kernel: boot it with Linux 5.15 or newer that has BTF";
    assert!(done.text.contains(next), "{}", done.text);
    host.ok(&undo);
    // Modules of a package that is no kernel, and the rescue kernel of Fedora, are passed over.
    host.ok(&format!(
        "mkdir -p /usr/lib/modules/6.1.0/extra {tree}/boot; touch {tree}/boot/vmlinuz-0-rescue-1f"
    ));
    assert!(setup("").text.contains(next));
    host.ok(&format!("{undo}; touch {tree}/boot/vmlinuz-6.1.0"));
    let done = setup("");
    assert_eq!(done.code, Some(0), "{}", done.text);
    let next =
        "Next: the image has no configuration of its kernel 6.1.0: make sure that it has BTF";
    assert!(done.text.contains(next), "{}", done.text);
    host.ok(&undo);
    let refused = setup("--strict");
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    let hint = "hint: copy it to /boot/config-6.1.0 in the image";
    assert!(refused.text.contains(hint), "{}", refused.text);
    host.ok(&format!(
        "printf 'CONFIG_BPF_SYSCALL=y\nCONFIG_DEBUG_INFO_BTF=y\n' > {tree}/boot/config-6.1.0"
    ));
    let done = setup("--strict");
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert!(!done.text.contains("BTF"), "{}", done.text);
}

#[test]
fn an_image_is_enrolled_once_and_restored_byte_for_byte() {
    let Some(host) = host() else { return };
    let tree = host.ok("printf %s $WORK/tree");
    host.ok(&format!(
        "cat > $WORK/web-1.json <<'TEXT'\n{ENROLMENT}\nTEXT"
    ));
    host.ok("echo old > $WORK/tree/etc/systemd/system/vctl-node-agent.service");
    // Other users could read this one.
    host.ok("cd $WORK/tree/etc/vctl && echo old > secret_id && chown 1 secret_id");
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
