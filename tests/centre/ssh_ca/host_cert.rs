//! `vctl ca host-cert`: Vault signs the key of a host, and vctl no longer asks users about this key.

use std::fs;

use vctl_tests::centre::Machine;

use crate::login::give;
use crate::ssh_ca::trust_ca::{Administrator, shared};

/// Starts a host that accepts certificates and that is not in any `known_hosts`.
fn unknown(admin: &Administrator<'_>, name: &str) -> Machine {
    let machine = admin.machine(name);
    fs::copy(
        machine.host_key(),
        machine.etc_ssh("ssh_host_ed25519_key.pub"),
    )
    .unwrap();
    let said = admin.run(&["trust-ca", name, "--sudo"]);
    assert_eq!(said.code, 0, "{said:?}");
    fs::remove_file(admin.at.home(".ssh/known_hosts")).unwrap();
    let said = admin.run(&["ssh", "-q", name, "--", "true"]);
    assert_eq!(said.code, 76, "{said:?}");
    machine
}

#[test]
fn a_host_certificate_replaces_the_host_key_question() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "vouch");
    let machine = unknown(&admin, "vouch-1");
    admin.sql("update vctl.servers set extra_ips = '{192.0.2.77}' where hostname = 'vouch-1'");
    // vctl fetches the host key with the administrator's own `ssh`.
    let said = admin.run(&["ca", "host-cert", "vouch-1"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stderr
            .contains("for 127.0.0.1, 192.0.2.77, vouch-1, until"),
        "{said:?}"
    );
    machine.show_certificate(&said.stdout).unwrap();
    let mut terminal = admin.before_a_person(&["ssh", "-q", "vouch-1", "--", "echo i''n"]);
    let end = terminal.end().unwrap();
    let shown = terminal.shown();
    assert_eq!(end.code(), Some(0), "{shown}");
    assert!(shown.contains("in") && !shown.contains("[y/N]"), "{shown}");
    assert!(!admin.at.home(".ssh/known_hosts").exists());
    // Vault does not sign a second name for the same host.
    admin.sql("update vctl.servers set hostname = 'vouch-2' where hostname = 'vouch-1'");
    let said = admin.run(&["ssh", "-q", "vouch-2", "--", "true"]);
    assert!(
        said.code == 76 && said.stderr.contains("is for `127.0.0.1`"),
        "{said:?}"
    );
    let noted = admin.sql(
        "select count(*) from vctl.host_certificate c join vctl.ca_keys k on k.fingerprint = c.ca_fingerprint \
         where hostname = 'vouch-2' and valid_before > now() + '80 days'",
    );
    assert_eq!(noted, "1");
}

#[test]
fn a_host_key_is_signed_from_a_file_or_a_pipe() {
    let Some(centre) = shared() else { return };
    let admin = Administrator::new(centre, "vouch-key");
    let machine = admin.machine("vouch-key-1");
    let key = machine.host_key();
    let file = [
        "ca",
        "host-cert",
        "vouch-key-1",
        "--ttl",
        "2d",
        "--principal",
        "www",
        "--key",
    ];
    let said = admin.run(&[&file[..], &[key.to_str().unwrap()]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let certificate = admin.at.home("cert.pub");
    fs::write(&certificate, &said.stdout).unwrap();
    let shown = std::process::Command::new("ssh-keygen")
        .arg("-Lf")
        .arg(&certificate)
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    for line in [
        "host certificate",
        "Key ID: \"vouch-key-1\"",
        "127.0.0.1",
        "www",
        "Extensions: (none)",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let text = fs::read_to_string(&key).unwrap();
    let pipe = admin.command(&[&file[..], &["-"]].concat());
    assert_eq!(give(pipe, &text).code, 0);
    let pipe = admin.command(&[&file[..], &["-"]].concat());
    let said = give(pipe, "no key");
    assert!(
        said.code == 2 && said.stderr.contains("an SSH public key"),
        "{said:?}"
    );
    let said = admin.run(&["ca", "host-cert", "vouch-none", "--key", "/nowhere"]);
    assert_eq!(said.code, 66, "{said:?}");
    for principal in ["a,b", "*", ""] {
        let said = admin.run(&["ca", "host-cert", "vouch-key-1", "--principal", principal]);
        assert_eq!(said.code, 2, "{principal}: {said:?}");
    }
    // A user with the right to log in cannot sign a host key.
    let user = Administrator::with(centre, "vouch-user", &["vctl-user", "vctl-ssh"]);
    let said = user.run(&[&file[..], &[key.to_str().unwrap()]].concat());
    assert!(
        said.code == 77 && said.stderr.contains("vctl-admin"),
        "{said:?}"
    );
}
