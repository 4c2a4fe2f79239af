//! `vctl host enroll --out` and `vctl-agent setup --enroll` agree on the file between them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::enroll::{centre, enroll, said, succeeded};

/// Creates a directory with what `vctl-agent setup --root` reads of an image, and programs that stand in for those of it.
fn image(work: &Path) {
    let files = [
        ("tree/etc/pam.d/sshd", "session required pam_loginuid.so\n"),
        ("tree/etc/ssh/sshd_config", ""),
        ("tree/usr/sbin/sshd", ""),
        ("tree/var/lib/dpkg/status", ""),
        ("tree/usr/sbin/vctl-agent", ""),
        // `sshd -t` and `sshd -T`.
        ("bin/chroot", "#!/bin/sh\necho usepam yes\n"),
        ("bin/systemctl", "#!/bin/sh\n"),
    ];
    for (path, text) in files {
        let path = work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn setup_accepts_the_file_of_an_enrolment() {
    let Some((centre, programs)) = centre() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path();
    let file = work.join("image-1.json");
    let path = file.to_str().unwrap();
    let arguments = [
        "enroll",
        "image-1",
        "--create",
        "--ip",
        "10.0.0.11",
        "--out",
        path,
    ];
    succeeded(&enroll(centre, &programs, &arguments));
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    image(work);
    let vctl = work.join("tree/etc/vctl");
    std::fs::create_dir(&vctl).unwrap();
    // The same values, with other quotes than those of the enrolment.
    let addr = written["vault_addr"].as_str().unwrap();
    let ours = format!("host: \"image-1\"\nvault_addr: '{addr}' # ours\n");
    std::fs::write(vctl.join("agent.yaml"), &ours).unwrap();
    let setup = || {
        let mut setup = Command::new(&programs.agent);
        setup.env(
            "PATH",
            format!("{}:/usr/bin:/bin", work.join("bin").display()),
        );
        setup.args(["setup", "--yes", "--enroll", path, "--root"]);
        setup.arg(work.join("tree")).output().unwrap()
    };
    let refused = said(&setup());
    let reason = "`vault_ca_cert` names `/etc/vctl/vault-ca.pem`, which does not exist";
    assert!(refused.contains(reason), "{refused}");
    for authority in ["vault-ca.pem", "db-ca.pem"] {
        std::fs::write(vctl.join(authority), "").unwrap();
    }
    succeeded(&setup());
    let read = |name: &str| std::fs::read_to_string(vctl.join(name)).unwrap();
    for (file, member) in [("role_id", "role_id"), ("secret_id", "wrapped_secret_id")] {
        assert_eq!(read(file).trim_end(), written[member].as_str().unwrap());
    }
    let config = written["agent_config"].as_str().unwrap();
    let is_ours = |line: &&str| !line.starts_with("host:") && !line.starts_with("vault_addr:");
    let added: Vec<_> = config.lines().filter(is_ours).collect();
    assert_eq!(read("agent.yaml"), ours + &added.join("\n") + "\n");
}
