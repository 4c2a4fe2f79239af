//! The attacker writes `.vctl/config.yaml` into a directory, and wants hosts to trust the attacker's CA.

use std::fs;
use std::os::unix::fs::symlink;

use super::desk::{Desk, FakeVault, trusts_a_ca};

/// The CA of the user's own Vault, and the CA of the attacker.
const OWN: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const EVIL: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMObHccqRdHQWiB/MkOVqrjKW567yejkB0pzicgNOUPN";
const OWN_FINGERPRINT: &str = "SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE";

/// Answers as the user's own Vault. It has another team's CA at another mount.
fn own_vault(request: &str) -> (u16, String) {
    match request {
        "GET /v1/ssh/public_key" => (200, OWN.to_owned()),
        "GET /v1/teamx/public_key" => (200, EVIL.to_owned()),
        _ => (404, r#"{"errors":[]}"#.to_owned()),
    }
}

fn evil_vault(request: &str) -> (u16, String) {
    match request {
        "GET /v1/ssh/public_key" => (200, EVIL.to_owned()),
        _ => (404, r#"{"errors":[]}"#.to_owned()),
    }
}

/// Returns true for an SSH greeting and one disconnect message (RFC 4253, section 11.1) without further bytes.
fn is_disconnect(said: &[u8]) -> bool {
    let Some(packet) = said.strip_prefix(b"SSH-2.0-vctl\r\n") else {
        return false;
    };
    let Some((length, rest)) = packet.split_first_chunk() else {
        return false;
    };
    usize::try_from(u32::from_be_bytes(*length)) == Ok(rest.len()) && rest.get(1) == Some(&1)
}

#[test]
fn an_untrusted_directory_names_no_ca() {
    let (own, evil) = (FakeVault::start(own_vault), FakeVault::start(evil_vault));
    let desk = Desk::new(&format!("vault_addr: {}\n", own.addr));
    let image = desk.image("image");
    let root = image.to_str().unwrap();
    let installs: [&[&str]; 4] = [
        &["trust-ca", "--root", root, "--yes"],
        &["trust-ca", "--script"],
        &["trust-ca", "--cloud-init"],
        &["ca", "ssh-print"],
    ];
    let uses: [&[&str]; 13] = [
        &["trust-ca", "root@127.0.0.1:1", "--yes"],
        &["trust-ca", "web-1", "--yes"],
        &["ca", "host-cert", "web-1", "--key", "-"],
        &["ca", "ssh-rotate", "--next", "--yes"],
        &["known-hosts", "web-1"],
        &["proxy", "web-1", "22"],
        &["ssh", "web-1"],
        &["ssh-config"],
        &["token"],
        &["exec", "--", "true"],
        &["agent", "--once"],
        &["host", "enroll", "web-1"],
        &["migrate"],
    ];
    let refused = |args: &[&str], key: &str| {
        let mut command = desk.command(args);
        // An existing token must not change the result.
        let output = command.env("VAULT_TOKEN", "hvs.secret").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{key}, {args:?}: {said}");
        assert!(
            said.contains(&format!("`{key}` decides")) && said.contains("`vctl config trust`"),
            "{key}, {args:?}: {said}"
        );
        // `ssh` hides the standard error of its proxy, so vctl also sends the reason in an SSH message.
        if args[0] == "proxy" {
            assert!(is_disconnect(&output.stdout), "{:?}", output.stdout);
        } else {
            assert!(output.stdout.is_empty(), "{key}, {args:?}");
        }
        assert!(!trusts_a_ca(&image), "{key}, {args:?}");
    };
    let addr = format!("vault_addr: {}", evil.addr);
    desk.directory_says(&addr);
    for args in installs.into_iter().chain(uses) {
        refused(args, "vault_addr");
    }
    for (key, value) in [
        ("vault_namespace", "team"),
        ("vault_ca_cert", "/evil.pem"),
        ("ssh_mount", "teamx"),
        ("ca_role", "root"),
        ("ssh_default_user", "root"),
        ("db_host", "127.0.0.1"),
        ("dc_rules", "[{name: x, prefixes: [a]}]"),
    ] {
        desk.directory_says(&format!("{key}: {value}\n"));
        for args in installs {
            refused(args, key);
        }
        refused(&["known-hosts", "web-1"], key);
    }
    assert_eq!(own.asked().len() + evil.asked().len(), 0);
}

#[test]
fn a_trusted_file_names_its_ca_until_a_byte_changes() {
    let (own, evil) = (FakeVault::start(own_vault), FakeVault::start(evil_vault));
    let desk = Desk::new(&format!("vault_addr: {}\n", own.addr));
    let image = desk.image("image");
    let root = image.to_str().unwrap();
    // vctl names the user's own configuration, but does not ask about it.
    let said = desk.run(&["trust-ca", "--script"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let named = format!("SSH CA {OWN_FINGERPRINT} of {}, mount ssh/", own.addr);
    assert!(
        said.out().contains(&format!("# {named}\n")),
        "{}",
        said.out()
    );
    assert!(said.stderr.contains(&named), "{}", said.stderr);

    let text = format!("vault_addr: {}\nssh_mount: ssh\n", evil.addr);
    desk.directory_says(&text);
    let said = desk.run(&["config", "trust", "--yes"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.out().contains(&evil.addr), "{}", said.out());
    let said = desk.run(&["ca", "ssh-print"]);
    assert_eq!((said.code, said.out().trim()), (0, EVIL));
    assert!(said.stderr.contains(&evil.addr), "{}", said.stderr);
    // Without a terminal, a setting of the directory needs `--yes`.
    let said = desk.run(&["trust-ca", "--root", root]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    assert!(
        said.stderr.contains(".vctl/config.yaml:1"),
        "{}",
        said.stderr
    );
    assert!(!trusts_a_ca(&image));
    let said = desk.run(&["trust-ca", "--root", root, "--yes"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(trusts_a_ca(&image));

    let other = desk.image("other");
    desk.directory_says(&format!("{text} "));
    let said = desk.run(&["trust-ca", "--root", other.to_str().unwrap(), "--yes"]);
    assert_eq!(said.code, 78, "{}", said.stderr);
    assert!(!trusts_a_ca(&other));
}

/// Neighbour: the attacker makes a directory use a file that the user trusts in another directory.
#[test]
fn trust_in_a_file_ends_at_its_directory() {
    let evil = FakeVault::start(evil_vault);
    let desk = Desk::new("");
    let image = desk.image("image");
    desk.directory_says(&format!("vault_addr: {}\n", evil.addr));
    assert_eq!(desk.run(&["config", "trust", "--yes"]).code, 0);
    let (work, there) = (desk.path("work/.vctl"), desk.path("elsewhere"));
    fs::create_dir_all(there.join(".vctl")).unwrap();
    let install = || {
        let mut command = desk.command(&["trust-ca", "--yes", "--root"]);
        command.arg(&image).current_dir(&there);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert!(!trusts_a_ca(&image));
    };
    fs::copy(work.join("config.yaml"), there.join(".vctl/config.yaml")).unwrap();
    install();
    fs::remove_file(there.join(".vctl/config.yaml")).unwrap();
    symlink(work.join("config.yaml"), there.join(".vctl/config.yaml")).unwrap();
    install();
    fs::remove_dir_all(there.join(".vctl")).unwrap();
    symlink(&work, there.join(".vctl")).unwrap();
    install();
    assert!(evil.asked().is_empty());
}

/// Neighbour: the attacker leads the user to another Vault by other means. The user sees this before vctl changes
/// anything.
#[test]
fn a_person_is_asked_before_a_ca_is_installed() {
    let own = FakeVault::start(own_vault);
    let desk = Desk::new("");
    let image = desk.image("image");
    let args = [
        "trust-ca",
        "--vault-addr",
        &own.addr,
        "--root",
        image.to_str().unwrap(),
    ];
    for (answer, code, trusts) in [
        ("\r", 1, false),
        ("yesterday\r", 1, false),
        ("y\r", 0, true),
    ] {
        let mut terminal = desk.before_a_person(&args);
        terminal.wait_for("trust this CA? [y/N]").unwrap();
        let shown = terminal.shown();
        assert!(
            shown.contains(OWN_FINGERPRINT) && shown.contains(&own.addr),
            "{shown}"
        );
        assert!(!trusts_a_ca(&image));
        terminal.type_in(answer).unwrap();
        assert_eq!(terminal.end().unwrap().code(), Some(code), "{answer:?}");
        assert_eq!(trusts_a_ca(&image), trusts, "{answer:?}");
    }
}
