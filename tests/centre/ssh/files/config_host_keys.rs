//! vctl and OpenSSH treat `RevokedHostKeys` and the files of known keys in ssh_config the same way. The spec runs
//! OpenSSH for each comparison.

use std::fs;
use std::process::Command;

use vctl_tests::centre::Host;

use crate::login::Said;
use crate::ssh::{Operator, shared};

const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// The content of the file that `RevokedHostKeys` names. `KEY` stands for the host's key.
const KEYS: &[u8] = b"KEY\n";

/// Lines of ssh_config, with `FILE`, and the bytes of that file. `None` means that the file does not exist.
const CASES: [(&str, Option<&[u8]>); 26] = [
    ("RevokedHostKeys FILE", Some(KEYS)),
    ("RevokedHostKeys FILE", Some(b"OTHER\n")),
    (
        "RevokedHostKeys FILE",
        Some(b"# b\xfcro\n\n \tKEY gestohlen am M\xe4rz\r\n"),
    ),
    ("RevokedHostKeys FILE", Some(b"")),
    ("RevokedHostKeys FILE", Some(b"OTHER\nKEY")),
    ("RevokedHostKeys FILE", Some(b"OTHER\nnot a key\n")),
    ("RevokedHostKeys FILE", Some(b"not a key\nKEY\n")),
    ("RevokedHostKeys FILE", Some(b"\xef\xbb\xbfKEY\n")),
    ("RevokedHostKeys FILE", None),
    ("RevokedHostKeys DIRECTORY", Some(KEYS)),
    ("RevokedHostKeys none", Some(KEYS)),
    ("RevokedHostKeys none\nRevokedHostKeys FILE", Some(KEYS)),
    ("REVOKEDHOSTKEYS=FILE", Some(KEYS)),
    ("\trevokedHostKeys\t = \"FILE\" # why", Some(KEYS)),
    ("Host other\n RevokedHostKeys FILE", Some(KEYS)),
    ("Host other\n RevokedHostKeys FILE", None),
    ("Host revoked-?\n RevokedHostKeys FILE", Some(KEYS)),
    ("Host * !revoked-1\n RevokedHostKeys FILE", Some(KEYS)),
    ("Match user USER\n RevokedHostKeys FILE", Some(KEYS)),
    ("Match user x\n RevokedHostKeys FILE", Some(KEYS)),
    ("Match !host x exec true\n RevokedHostKeys FILE", Some(KEYS)),
    ("Include INCLUDED", Some(KEYS)),
    ("Host x\n Include INCLUDED", Some(KEYS)),
    ("Include ~root/nowhere/*", Some(KEYS)),
    ("# RevokedHostKeys FILE", Some(KEYS)),
    (
        "RevokedHostKeys FILE\nUserKnownHostsFile /dev/null",
        Some(KEYS),
    ),
];

#[test]
fn a_key_that_ssh_refuses_as_revoked_is_refused() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-revoked");
    let host = centre.host.as_ref().unwrap();
    operator.knows("revoked-1", host);
    let mut refused = 0;
    for (lines, bytes) in CASES {
        refused += usize::from(compared(&operator, "revoked-1", host, lines, bytes));
    }
    assert!((12..20).contains(&refused), "{refused}");
}

#[test]
fn a_key_revocation_list_is_read_by_openssh() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-krl");
    let host = centre.host.as_ref().unwrap();
    operator.knows("krl-1", host);
    let of_other = krl(OTHER);
    let whole = krl(&host.public_key());
    let hashed = krl(&format!("sha256: {}", host.public_key()));
    let cut = whole[..whole.len() - 5].to_vec();
    for (list, is_refused) in [
        (of_other, false),
        (whole, true),
        (hashed, true),
        (cut, true),
    ] {
        let refused = compared(
            &operator,
            "krl-1",
            host,
            "RevokedHostKeys FILE",
            Some(&list),
        );
        assert_eq!(refused, is_refused);
    }
}

#[test]
fn known_keys_in_files_of_ssh_config_are_known() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-named");
    let host = centre.host.as_ref().unwrap();
    operator.inventory("named-1", "127.0.0.1", host.port(), host.user());
    let key = host.public_key();
    let file = operator.at.home("work/team.hosts");
    let config = operator.at.home(".ssh/config");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let known = format!("named-? {key}\n");
    for (lines, text, code) in [
        ("UserKnownHostsFile FILE", &*known, 0),
        ("UserKnownHostsFile ~/.ssh/none FILE", &known, 0),
        ("UserKnownHostsFile FILE.%n", &known, 0),
        ("UserKnownHostsFile ${VCTL_SPEC_FILE}", &known, 0),
        ("Host named-1\n globalknownhostsfile=\"FILE\"", &known, 0),
        ("Host other\n UserKnownHostsFile FILE", &known, 76),
        ("UserKnownHostsFile none", &known, 76),
        (
            "UserKnownHostsFile FILE",
            &format!("@revoked * {key}\n{known}"),
            76,
        ),
    ] {
        fs::write(&file, text).unwrap();
        fs::write(file.with_extension("hosts.named-1"), text).unwrap();
        let lines = lines
            .replace("FILE}", "F}")
            .replace("FILE", file.to_str().unwrap());
        fs::write(&config, format!("{}\n", lines.replace("F}", "FILE}"))).unwrap();
        let mut command = operator
            .at
            .command(&["ssh", "-q", "--server", "named-1", "--", "true"]);
        let said: Said = command
            .env("VCTL_SPEC_FILE", &file)
            .output()
            .unwrap()
            .into();
        assert_eq!(said.code, code, "{lines}: {said:?}");
    }
}

/// Connects to the host with OpenSSH and with vctl, expects the same result, and returns whether both refused the host.
fn compared(
    operator: &Operator<'_>,
    name: &str,
    host: &Host,
    lines: &str,
    bytes: Option<&[u8]>,
) -> bool {
    let home = |name: &str| operator.at.home(name);
    let text = |name: &str| home(name).to_str().unwrap().to_owned();
    let file = home("work/re voked");
    match bytes {
        Some(bytes) => {
            let key = host.public_key();
            let bytes = replaced(bytes, b"KEY", key.as_bytes());
            fs::write(&file, replaced(&bytes, b"OTHER", OTHER.as_bytes())).unwrap();
        }
        None => fs::remove_file(&file).unwrap(),
    }
    // A quoted path contains a blank. If the case has its own quotes, they are enough.
    let quoted = format!("\"{}\"", file.display());
    let filled = |lines: &str| {
        lines
            .replace("\"FILE\"", &quoted)
            .replace("=FILE", &format!("={quoted}"))
            .replace(" FILE", &format!(" {quoted}"))
            .replace("DIRECTORY", &text("work"))
            .replace("INCLUDED", &text(".ssh/conf.d/*.conf"))
            .replace("USER", host.user())
    };
    fs::create_dir_all(home(".ssh/conf.d")).unwrap();
    fs::write(home(".ssh/conf.d/a.conf"), filled("RevokedHostKeys FILE\n")).unwrap();
    fs::write(home(".ssh/config"), format!("{}\n", filled(lines))).unwrap();
    let ssh_refuses = ssh_refuses(operator, name, host);
    let said = operator
        .at
        .run(&["ssh", "-q", "--server", name, "--", "true"]);
    let expected = if ssh_refuses { 76 } else { 0 };
    assert_eq!(said.code, expected, "{lines} {bytes:?}: {said:?}");
    if ssh_refuses {
        let is_why = said.stderr.contains("RevokedHostKeys");
        assert!(is_why, "{lines}: {said:?}");
    }
    ssh_refuses
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|window| window == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

/// Returns the revocation list that `ssh-keygen -k` makes from a line.
fn krl(line: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("input"), dir.path().join("krl"));
    fs::write(&input, format!("{line}\n")).unwrap();
    let mut command = Command::new("ssh-keygen");
    let made = command.args(["-q", "-k", "-f"]).arg(&output).arg(&input);
    assert!(made.status().unwrap().success());
    fs::read(output).unwrap()
}

/// Runs a real `ssh`. If `ssh` accepts the host, the host then refuses `ssh`, because the client has no key.
fn ssh_refuses(operator: &Operator<'_>, name: &str, host: &Host) -> bool {
    let config = operator.at.home(".ssh/config");
    let known = operator.at.home(".ssh/known_hosts");
    let known = format!("UserKnownHostsFile={}", known.display());
    let (port, config) = (host.port().to_string(), config.to_str().unwrap());
    let mut args = vec!["-F", config, "-p", &port, "-l", host.user()];
    let alias = format!("HostKeyAlias={name}");
    for option in [
        &*known,
        "GlobalKnownHostsFile=none",
        "HostName=127.0.0.1",
        &alias,
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
        "IdentityFile=none",
        "IdentityAgent=none",
    ] {
        args.extend(["-o", option]);
    }
    args.extend([name, "true"]);
    let said: Said = operator.at.program("ssh", &args).output().unwrap().into();
    let (key, login) = ("Host key verification failed", "Permission denied");
    let refuses = said.stderr.contains(key);
    assert!(refuses != said.stderr.contains(login), "{said:?}");
    refuses
}
