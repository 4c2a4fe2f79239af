//! A host must show the known key, or a certificate for its name. Otherwise, vctl does not log in, on any route.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::json;
use vctl_tests::centre::{Centre, Host, Island};

use super::{Operator, shared};
use crate::login::Said;

const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

#[test]
fn an_unknown_host_is_refused_without_a_terminal() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-unknown");
    let host = centre.host.as_ref().unwrap();
    operator.inventory("unknown-1", "127.0.0.1", host.port(), host.user());
    let said = operator.ssh(&["unknown-1", "--", "true"]);
    assert_eq!(said.code, 76, "{said:?}");
    assert!(
        said.stderr.contains("is not known: it is SHA256:"),
        "{}",
        said.stderr
    );
    assert!(!operator.known_hosts().exists());
    let rows = operator.accesses("unknown-1");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["result"], "refused");
    // On a terminal, vctl does not ask the user about the key either.
    let mut terminal = operator.before_a_person(&["--server", "unknown-1", "--", "true"]);
    assert_eq!(terminal.end().unwrap().code(), Some(76));
    assert!(!terminal.shown().contains("[y/N]"), "{}", terminal.shown());
}

#[test]
fn an_answer_about_a_host_key_is_remembered() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-asked");
    let host = centre.host.as_ref().unwrap();
    operator.inventory("asked-1", "127.0.0.1", host.port(), host.user());
    // The last line of the existing file has no line end.
    operator.remembers(&format!("web-0 {OTHER}"));
    let mut terminal = operator.before_a_person(&["asked-1", "--", "echo in"]);
    terminal.wait_for("[y/N]").unwrap();
    terminal.type_in("n\r").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(76));
    let mut terminal = operator.before_a_person(&["asked-1", "--", "echo i''n"]);
    terminal.wait_for("SHA256:").unwrap();
    terminal.wait_for("[y/N]").unwrap();
    terminal.type_in("y\r").unwrap();
    assert_eq!(
        terminal.end().unwrap().code(),
        Some(0),
        "{}",
        terminal.shown()
    );
    let text = fs::read_to_string(operator.known_hosts()).unwrap();
    assert_eq!(
        text,
        format!("web-0 {OTHER}\nasked-1 {}\n", host.public_key())
    );
    assert_eq!(operator.ssh(&["asked-1", "--", "true"]).code, 0);
}

#[test]
fn a_host_of_another_key_is_refused_and_nothing_is_forgotten() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-changed");
    let host = centre.host.as_ref().unwrap();
    operator.inventory("changed-1", "127.0.0.1", host.port(), host.user());
    operator.remembers(&format!("# mine\nchanged-1 {OTHER}\n"));
    let before = fs::read(operator.known_hosts()).unwrap();
    let said = operator.ssh(&["changed-1", "--", "true"]);
    assert_eq!(said.code, 76, "{said:?}");
    let told = said.stderr.contains("has changed") && said.stderr.contains("line 2 of");
    assert!(told, "{}", said.stderr);
    assert_eq!(fs::read(operator.known_hosts()).unwrap(), before);
    assert_eq!(operator.accesses("changed-1")[0]["result"], "refused");
    // On a terminal, vctl does not ask the user either.
    let mut terminal = operator.before_a_person(&["changed-1", "--", "true"]);
    assert_eq!(terminal.end().unwrap().code(), Some(76));
    // A revoked key is not valid, even if it is also a known key.
    let revoked = format!("changed-1 {0}\n@revoked * {0}\n", host.public_key());
    fs::write(operator.known_hosts(), revoked).unwrap();
    let said = operator.ssh(&["changed-1", "--", "true"]);
    assert!(
        said.code == 76 && said.stderr.contains("was revoked"),
        "{said:?}"
    );
}

#[test]
fn a_wrong_key_on_the_direct_route_is_final() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-mitm");
    let island = Island::new().unwrap();
    let honest = centre.another_host_on(&island, "mitm-h").unwrap();
    let jump = centre.another_host_on(&island, "mitm-j").unwrap();
    let (impostor, honest_port) = (centre.another_host("mitm-i").unwrap(), honest.port());
    operator.inventory(
        "mitm-jump",
        "127.0.0.1",
        island.door(jump.port()).unwrap(),
        jump.user(),
    );
    operator.remembers(&format!("mitm-jump {}\n", jump.public_key()));
    operator.inventory("mitm-1", "127.0.0.1", honest_port, honest.user());
    operator.remembers(&format!("mitm-1 {}\n", honest.public_key()));
    operator.jumps("mitm-1", "mitm-jump");
    // While no server listens at the direct address, vctl reaches this host through the jump host.
    assert_eq!(operator.ssh(&["mitm-1", "--", "true"]).code, 0);
    let before = fs::read(operator.known_hosts()).unwrap();
    stand_in(honest_port, &impostor);
    let said = operator.ssh(&["mitm-1", "--", "true"]);
    assert_eq!(said.code, 76, "{said:?}");
    assert_eq!(fs::read(operator.known_hosts()).unwrap(), before);
    assert_eq!(honest.log().matches("Accepted publickey").count(), 1);
    assert!(!impostor.log().contains("Accepted publickey"));
    // Through the jump host first, vctl still reaches the real host.
    let said = operator
        .command(&["mitm-1", "--", "true"])
        .env("VCTL_SSH_DIRECT_FIRST", "false")
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(0));
}

#[test]
fn a_wrong_key_behind_a_jump_host_sees_no_certificate() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-behind");
    let island = Island::new().unwrap();
    let jump = centre.another_host_on(&island, "behind-j").unwrap();
    let impostor = centre.another_host_on(&island, "behind-i").unwrap();
    let door = island.door(jump.port()).unwrap();
    operator.inventory("behind-jump", "127.0.0.1", door, jump.user());
    operator.remembers(&format!("behind-jump {}\n", jump.public_key()));
    operator.inventory("behind-1", "127.0.0.1", impostor.port(), impostor.user());
    operator.remembers(&format!("behind-1 {OTHER}\n"));
    operator.jumps("behind-1", "behind-jump");
    let before = fs::read(operator.known_hosts()).unwrap();
    // The direct address does not answer. The result is the same if the jump host is the only route.
    for (direct, count) in [("true", 1), ("false", 2)] {
        let mut command = operator.command(&["behind-1", "--", "true"]);
        command.env("VCTL_SSH_DIRECT_FIRST", direct);
        let said = Said::from(command.output().unwrap());
        assert_eq!((said.code, &*said.stdout), (76, ""), "{said:?}");
        let changed = "the host key of `behind-1` has changed: it is SHA256:";
        let told = said.stderr.contains(changed) && said.stderr.contains("line 2 of");
        assert!(told, "{}", said.stderr);
        let rows = operator.accesses("behind-1");
        assert_eq!(rows.len(), count, "{rows:#?}");
        let row = &rows[count - 1];
        assert_eq!(row["result"], "refused", "{row:#}");
        assert!(!row["closed_at"].is_null(), "{row:#}");
        assert!(
            row["error"].as_str().unwrap().starts_with(changed),
            "{row:#}"
        );
        assert_eq!(row["jump_via"], json!(["behind-jump"]), "{row:#}");
        // The jump host accepted the certificate. The target host received no login attempt.
        let serial = format!("(serial {})", row["hops"][0]["cert_serial"]);
        assert!(jump.log().contains(&serial), "{row:#}");
    }
    assert_eq!(jump.log().matches("Accepted publickey").count(), 2);
    let log = impostor.log();
    assert_eq!(log.matches("Connection from ").count(), 2, "{log}");
    assert!(!log.contains("publickey") && !log.contains("CERT"), "{log}");
    assert_eq!(fs::read(operator.known_hosts()).unwrap(), before);
}

#[test]
fn a_host_certificate_needs_no_known_hosts() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-hostcert");
    let host = centre.another_host("cert").unwrap();
    certify(centre, &host, "cert-1");
    operator.inventory("cert-1", "127.0.0.1", host.port(), host.user());
    let said = operator.ssh(&["cert-1", "--", "true"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!operator.known_hosts().exists());
    // The certificate must be for the name of this host.
    operator.inventory("cert-2", "127.0.0.1", host.port(), host.user());
    let said = operator.ssh(&["cert-2", "--", "true"]);
    assert!(
        said.code == 76 && said.stderr.contains("is for `cert-1`"),
        "{said:?}"
    );
    // vctl also obeys a line that the user wrote by hand. This line revokes the CA.
    let authority = centre.ssh_authority().unwrap();
    operator.remembers(&format!("@revoked * {authority}\n"));
    let said = operator.ssh(&["cert-1", "--", "true"]);
    assert!(
        said.code == 76 && said.stderr.contains("was revoked"),
        "{said:?}"
    );
}

#[test]
fn a_certificate_of_an_unknown_ca_hides_no_known_key() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-hidden-key");
    let host = centre.another_host("hidden").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let keygen = |args: &[&str]| {
        let output = Command::new("ssh-keygen").arg("-q").args(args).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    for (kind, name) in [("ecdsa", "known"), ("ecdsa", "other"), ("ed25519", "ca")] {
        keygen(&["-t", kind, "-N", "", "-f", &at(name)]);
    }
    fs::write(at("host.pub"), host.public_key()).unwrap();
    let name = "hidden-1";
    keygen(&[
        "-s",
        &at("ca"),
        "-h",
        "-I",
        name,
        "-n",
        name,
        &at("host.pub"),
    ]);
    let certificate = fs::read_to_string(at("host-cert.pub")).unwrap();
    host.show_certificate(&certificate).unwrap();
    host.configure(&format!("HostKey {}\n", at("known")))
        .unwrap();
    operator.inventory(name, "127.0.0.1", host.port(), host.user());
    let remembers = |key: &str| {
        let key = fs::read_to_string(at(&format!("{key}.pub"))).unwrap();
        fs::write(operator.known_hosts(), format!("{name} {key}")).unwrap();
    };
    operator.remembers("");
    remembers("known");
    let said = operator.ssh(&[name, "--", "echo $SSH_CONNECTION"]);
    assert_eq!(said.code, 0, "{said:?}");
    // The row names the connection of the login, which is the second one.
    let port: u64 = said.stdout.split(' ').nth(1).unwrap().parse().unwrap();
    let rows = operator.accesses(name);
    let of_login: Vec<_> = rows.iter().filter(|row| row["result"] == "ok").collect();
    assert_eq!(of_login.len(), 1, "{rows:?}");
    assert_eq!(of_login[0]["source_port"].as_u64(), Some(port), "{rows:?}");
    remembers("other");
    let said = operator.ssh(&[name, "--", "true"]);
    assert_eq!(said.code, 76, "{said:?}");
}

/// Lets the Vault of the centre sign the host's key for `name`, and makes the host's sshd present that certificate.
fn certify(centre: &Centre, host: &Host, name: &str) {
    let admin = centre.bao.admin().unwrap();
    let role = json!({
        "key_type": "ca", "allow_host_certificates": true, "allowed_domains": "*",
        "allow_bare_domains": true, "allow_subdomains": true,
    });
    admin.post("ssh/roles/spec-host", &role).unwrap();
    let wish = json!({
        "public_key": host.public_key(), "cert_type": "host", "valid_principals": name,
    });
    let signed = admin.post("ssh/sign/spec-host", &wish).unwrap();
    let certificate = signed["data"]["signed_key"].as_str().unwrap();
    host.show_certificate(certificate).unwrap();
}

/// Starts `host` at the port where the spec expects another host.
fn stand_in(port: u16, host: &Host) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let to = host.port();
    thread::spawn(move || {
        for outer in listener.incoming().flatten() {
            let inner = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).unwrap();
            let (mut a, mut b) = (outer.try_clone().unwrap(), inner.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut a, &mut b));
            thread::spawn(move || io::copy(&mut (&inner), &mut (&outer)));
        }
    });
}

#[test]
fn hashed_names_of_openssh_are_read() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-hashed");
    operator.knows("hashed-1", centre.host.as_ref().unwrap());
    let path = operator.known_hosts();
    let hashed = Command::new("ssh-keygen")
        .arg("-H")
        .arg("-f")
        .arg(&path)
        .output()
        .unwrap();
    assert!(hashed.status.success(), "{hashed:?}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("hashed-1"), "{text}");
    assert_eq!(operator.ssh(&["hashed-1", "--", "true"]).code, 0);
    assert!(Path::new(&path).exists());
}
