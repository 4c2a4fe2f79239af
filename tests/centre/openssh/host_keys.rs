//! `vctl known-hosts`, which `ssh` asks for the keys of each host.

use super::{Desk, shared};
use crate::login::Said;

#[test]
fn a_plain_host_key_needs_no_request_to_vault() {
    let Some(centre) = shared() else { return };
    let desk = Desk::new(centre, "ossh-plain");
    let host = centre.another_host("ossh-plain").unwrap();
    desk.operator.knows("ossh-plain-1", &host);
    let asked = |key_type: &str| -> Said {
        let args = ["known-hosts", "--for", "HOSTNAME", "--key-type", key_type];
        let mut command = desk.operator.at.command(&args);
        // There is no server at this address.
        let output = command
            .arg("ossh-plain-1")
            .env("VCTL_VAULT_ADDR", "https://127.0.0.1:9")
            .output();
        output.unwrap().into()
    };
    let plain = asked("ssh-ed25519");
    assert_eq!((plain.code, plain.stderr.as_str()), (0, ""), "{plain:?}");
    assert!(plain.stdout.contains("ssh-ed25519 "), "{plain:?}");
    let certificate = asked("ssh-ed25519-cert-v01@openssh.com");
    let said = &certificate.stderr;
    assert!(said.contains("cannot be read from Vault"), "{said}");

    // `ssh` passes the type.
    desk.install();
    let said = desk.ssh(&["-vvv", "ossh-plain-1", "true"]);
    assert_eq!(said.code, 0, "{said:?}");
    let passed = said
        .stderr
        .contains("--for HOSTNAME --key-type ssh-ed25519 ");
    assert!(passed, "{said:?}");
}
