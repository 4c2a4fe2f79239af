//! vctl reads a line of `known_hosts` as OpenSSH does. The spec runs OpenSSH for each comparison.

use std::fs;
use std::path::Path;
use std::process::Command;

use vctl_tests::centre::Host;

use crate::login::Said;
use crate::ssh::{Operator, shared};

const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// The result that a file gives for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Known,
    Authority,
    Revoked,
}

#[test]
fn every_form_of_a_line_matches_ssh_keygen() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-lines");
    let file = operator.at.home(".ssh/known_hosts");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut forms = Vec::new();
    for lead in ["", "  ", "\t"] {
        for marker in ["", "@revoked", "@cert-authority", "@unknown", "@revokedx"] {
            for names in NAMES {
                for blank in [" ", "  ", "\t", " \t "] {
                    for end in ENDS {
                        forms.push((lead, marker, names, blank, end));
                    }
                }
            }
        }
    }
    // Each value meets each other value at least once. All combinations together would take minutes.
    let (mut compared, mut seen) = (0, Vec::new());
    for (lead, marker, names, blank, end) in forms.into_iter().step_by(53) {
        let names = names.replace("HASH", &hashed("h"));
        let fields = [marker, &names, "ssh-ed25519", OTHER];
        let fields: Vec<&str> = fields
            .into_iter()
            .filter(|field| !field.is_empty())
            .collect();
        let line = [lead.as_bytes(), fields.join(blank).as_bytes(), end].concat();
        fs::write(&file, &line).unwrap();
        let judged = judged(&file);
        let ours = ours(&operator);
        // OpenSSH ignores such a revocation by mistake.
        let excepted = marker == "@revoked" && blank.starts_with('\t') && line.contains(&b' ');
        let expected = match (excepted, ours) {
            (true, Verdict::Revoked) => Verdict::Revoked,
            _ => judged,
        };
        assert_eq!(ours, expected, "{}", String::from_utf8_lossy(&line));
        compared += 1;
        seen.push(judged);
    }
    assert!(compared > 90, "{compared}");
    for verdict in [
        Verdict::Unknown,
        Verdict::Known,
        Verdict::Authority,
        Verdict::Revoked,
    ] {
        assert!(seen.contains(&verdict), "{verdict:?}");
    }
}

const NAMES: [&str; 11] = [
    "h", "H", "x,h", "*", "*,!h", "!x,?", "[h]:22", "HASH", "hh", "h,", "#h",
];

const ENDS: [&[u8]; 8] = [
    b"\n",
    b"\r\n",
    b"",
    b" \n",
    b"\tcomment\n",
    b" j\xf6rg\n",
    b" x\0y\n",
    b"\0@revoked * ssh-ed25519 x\nx",
];

fn judged(file: &Path) -> Verdict {
    let mut command = Command::new("ssh-keygen");
    let output = command.args(["-F", "h", "-f"]).arg(file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().next() {
        None => Verdict::Unknown,
        Some(found) if found.contains(" REVOKED") => Verdict::Revoked,
        Some(found) if found.contains(" CA") => Verdict::Authority,
        Some(_) => Verdict::Known,
    }
}

fn ours(operator: &Operator<'_>) -> Verdict {
    let said = operator.at.run(&["known-hosts", "--for", "ORDER", "h"]);
    assert_eq!(said.code, 0, "{said:?}");
    match said.stdout.split(' ').next().unwrap_or_default() {
        "" => Verdict::Unknown,
        "@revoked" => Verdict::Revoked,
        "@cert-authority" => Verdict::Authority,
        _ => Verdict::Known,
    }
}

/// Returns a line with a hashed name, as `ssh-keygen -H` writes it.
fn hashed(name: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plain");
    fs::write(&file, format!("{name} ssh-ed25519 {OTHER}\n")).unwrap();
    let done = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let text = fs::read_to_string(file).unwrap();
    text.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_login_is_refused_where_ssh_refuses_it() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-ssh");
    let host = centre.host.as_ref().unwrap();
    operator.inventory("line-1", "127.0.0.1", host.port(), host.user());
    let hash = hashed("line-1");
    let key = host.public_key();
    let (kind, blob) = key.split_once(' ').unwrap();
    let good = format!("line-1 {key}\n");
    let cases: [(&str, String, String); 12] = [
        (
            "hashed revocation",
            good.clone(),
            format!("@revoked {hash} {key}\n"),
        ),
        (
            "revoked but for this host",
            format!("{good}@revoked *,!line-1 {key}\n"),
            String::new(),
        ),
        (
            "revoked first",
            format!("@revoked\t*\t{kind}\t{blob}\r\n{good}"),
            String::new(),
        ),
        (
            "revoked in the second file",
            good.clone(),
            format!("@revoked line-? {key}"),
        ),
        (
            "known in the second file",
            String::new(),
            format!("\tLINE-1\t{kind}\t\t{blob}\tx"),
        ),
        (
            "another key revoked",
            format!("{good}@revoked * ssh-ed25519 {OTHER}\n"),
            String::new(),
        ),
        (
            "a broken revocation",
            format!("{good}@revoked * {kind} {blob}x\n"),
            String::new(),
        ),
        ("a port", format!("[line-1]:22 {key}\n"), String::new()),
        (
            "a long list",
            format!("{},line-1 {key}\n", "x,".repeat(40_000)),
            String::new(),
        ),
        (
            "an overlong name",
            format!("{},line-1 {key}\n", "x".repeat(1023)),
            String::new(),
        ),
        (
            "a broken base64 with blanks",
            format!("line-1 {kind} {} {}\n", &blob[..20], &blob[20..]),
            String::new(),
        ),
        (
            "a key of another type",
            format!("line-1 ssh-rsa {blob}\n"),
            String::new(),
        ),
    ];
    let mut refused = 0;
    for (what, first, second) in cases {
        for (name, text) in [("known_hosts", first), ("known_hosts2", second)] {
            let file = operator.at.home(".ssh").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let ssh_refuses = ssh_refuses(&operator, host);
        let said = operator
            .at
            .run(&["ssh", "-q", "--server", "line-1", "--", "true"]);
        let expected = if ssh_refuses { 76 } else { 0 };
        assert_eq!(said.code, expected, "{what}: {said:?}");
        refused += usize::from(ssh_refuses);
    }
    assert!((5..10).contains(&refused), "{refused}");
}

/// Runs a real `ssh`. If `ssh` accepts the host, the host then refuses `ssh`, because the client has no key.
fn ssh_refuses(operator: &Operator<'_>, host: &Host) -> bool {
    let files = ["known_hosts", "known_hosts2"].map(|name| operator.at.home(".ssh").join(name));
    let known = format!(
        "UserKnownHostsFile={} {}",
        files[0].display(),
        files[1].display()
    );
    let (port, user) = (
        host.port().to_string(),
        format!("{}@127.0.0.1", host.user()),
    );
    let mut command = operator.at.program(
        "ssh",
        &[
            "-F",
            "none",
            "-o",
            &known,
            "-o",
            "GlobalKnownHostsFile=none",
            "-o",
            "HostKeyAlias=line-1",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentityFile=none",
            "-o",
            "IdentityAgent=none",
            "-p",
            &port,
            &user,
            "true",
        ],
    );
    let said: Said = command.output().unwrap().into();
    let (key, login) = ("Host key verification failed", "Permission denied");
    let refuses = said.stderr.contains(key);
    assert!(refuses != said.stderr.contains(login), "{said:?}");
    refuses
}

#[test]
fn adding_a_key_keeps_the_bytes_of_known_hosts() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "files-append");
    let host = centre.host.as_ref().unwrap();
    operator.inventory("append-1", "127.0.0.1", host.port(), host.user());
    let elsewhere = operator.at.home("dotfiles");
    let before = b"# b\xfcro\r\nx ssh-ed25519 AAAA\r\n\0\n# no end".as_slice();
    fs::write(&elsewhere, before).unwrap();
    let ssh = operator.at.home(".ssh");
    fs::create_dir_all(&ssh).unwrap();
    std::os::unix::fs::symlink("../dotfiles", ssh.join("known_hosts")).unwrap();
    let mut terminal = operator
        .at
        .before_a_person(&["ssh", "-q", "append-1", "--", "true"]);
    terminal.wait_for("[y/N]").unwrap();
    terminal.type_in("y\r").unwrap();
    assert_eq!(
        terminal.end().unwrap().code(),
        Some(0),
        "{}",
        terminal.shown()
    );
    let line = format!("\nappend-1 {}\n", host.public_key());
    assert_eq!(
        fs::read(&elsewhere).unwrap(),
        [before, line.as_bytes()].concat()
    );
    assert!(ssh.join("known_hosts").is_symlink());
}
