//! Setting files and ids in forms that editors and other programs write, and files that vctl cannot read.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use vctl_tests::centre::Centre;

use super::{ALICE, Ground, said};
use crate::login::{Workstation, machine};

/// A time longer than any of these commands needs, and shorter than a user would wait.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn settings_are_read_past_marks_line_ends_and_foreign_comments() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let at = Workstation::new(centre);
    fs::create_dir_all(at.home(".config/vctl")).unwrap();
    let port = |text: &[u8]| {
        fs::write(at.home(".config/vctl/config.yaml"), text).unwrap();
        at.run(&["config", "-o", "json", "--db-host", "x"])
    };
    for text in [
        &b"\xef\xbb\xbfoidc_callback_port: 77\n"[..],
        b"# f\xfcr alle\r\noidc_callback_port: 77\r\n",
        b"oidc_callback_port:   77 # gr\xfc\xdfe",
        b"oidc_callback_port: '77'\t\n\n\n",
    ] {
        let said = port(text);
        assert_eq!(said.code, 0, "{said:?}");
        let shown: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(shown["oidc_callback_port"]["value"], "77", "{said:?}");
    }
    // vctl does not guess an unclear value.
    for (text, why) in [
        (
            &b"username: j\xf6rg\n"[..],
            "value of `username`: not UTF-8",
        ),
        (b"\xff\xfeu\0s\0", "UTF-16"),
    ] {
        let said = port(text);
        assert!(said.code == 78 && said.stderr.contains(why), "{said:?}");
    }
}

/// Makes a path unreadable in some way.
type Make = fn(&Path);

#[test]
fn an_unreadable_optional_file_is_named_and_skipped() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let ground = Ground::new();
    let kinds: [(&str, Make); 5] = [
        ("Permission denied", |path| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
        }),
        ("Permission denied", |path| {
            let parent = path.parent().unwrap();
            fs::set_permissions(parent, Permissions::from_mode(0o000)).unwrap();
        }),
        ("symbolic links", |path| symlink(path, path).unwrap()),
        ("regular file", |path| fs::create_dir(path).unwrap()),
        ("regular file", |path| {
            let made = Command::new("mkfifo").arg(path).status().unwrap();
            assert!(made.success());
        }),
    ];
    for (index, (why, make)) in kinds.into_iter().enumerate() {
        let home = ground.directory(&format!("home-{index}"), ALICE, 0o700);
        let work = ground.directory(&format!("work-{index}"), 0, 0o755);
        let own = home.join(".config/vctl/config.yaml");
        let directory = work.join(".vctl/config.yaml");
        for path in [&own, &directory] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            make(path);
        }
        let begun = Instant::now();
        let mut command = ground.vctl(centre, ALICE, &["config"]);
        let said = said(command.env("HOME", &home).current_dir(&work));
        assert!(begun.elapsed() < SOON);
        assert_eq!(said.code, 0, "{said:?}");
        let named = [own.to_str().unwrap(), "`.vctl/config.yaml`"];
        for name in named {
            let lines = said.stderr.lines().filter(|line| line.contains(name));
            let lines: Vec<&str> = lines.collect();
            assert!(
                lines.len() == 1 && lines[0].contains(why),
                "{why}: {said:?}"
            );
        }
        // The user names the same file on the command line.
        let mut command = ground.vctl(centre, ALICE, &["config"]);
        let named = command.env("HOME", &home).env("VCTL_CONFIG", &directory);
        assert_eq!(self::said(named).code, 78, "{why}");
    }
}

#[test]
fn an_unreadable_system_file_does_not_stop_ssh() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let ground = Ground::new();
    let home = ground.directory("home", ALICE, 0o700);
    ground.directory("home/.ssh", ALICE, 0o700);
    let line =
        "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\n";
    fs::write(home.join(".ssh/known_hosts"), line).unwrap();
    let pipe = home.join(".ssh/known_hosts2");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut command = ground.vctl(centre, ALICE, &["known-hosts", "--for", "ORDER", "h"]);
    let said = said(command.env("HOME", &home));
    assert_eq!((said.code, &*said.stdout), (0, line), "{said:?}");
    let named = said.stderr.matches(pipe.to_str().unwrap()).count();
    assert_eq!(named, 1, "{said:?}");
}

#[test]
fn ids_and_authorities_are_read_as_people_save_them() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let at = Workstation::new(centre);
    let [role_id, secret_id] = machine(centre, "files-ids", 600, 1200);
    let (role, secret, ca) = (at.home("role"), at.home("secret"), at.home("ca.pem"));
    let trusted = centre.environment();
    let own_ca = trusted
        .iter()
        .find(|(name, _)| *name == "VCTL_VAULT_CA_CERT");
    let pem = own_ca.map(|(_, path)| fs::read_to_string(path).unwrap());
    let pem = pem.unwrap();
    let list = |role: &Path, secret: &Path| {
        let mut command = at.command(&["token"]);
        command
            .env("VCTL_AUTH_METHOD", "approle")
            .env("VCTL_ROLE_ID_FILE", role)
            .env("VCTL_SECRET_ID_FILE", secret)
            .env("VCTL_VAULT_CA_CERT", &ca);
        let begun = Instant::now();
        let said = said(&mut command);
        assert!(begun.elapsed() < SOON);
        let _ = fs::remove_file(at.home(".vctl/token"));
        said
    };
    for (before, after) in [
        ("", "\r\n"),
        ("\u{feff}", "\r\n\r\n"),
        (" \t", ""),
        ("\n", "\0\n"),
    ] {
        fs::write(&role, format!("{before}{role_id}{after}")).unwrap();
        fs::write(&secret, format!("{before}{secret_id}{after}")).unwrap();
        let crlf = pem.replace('\n', "\r\n");
        fs::write(
            &ca,
            [
                b"\xef\xbb\xbf".as_slice(),
                crlf.as_bytes(),
                b"# gr\xfc\xdfe",
            ]
            .concat(),
        )
        .unwrap();
        let said = list(&role, &secret);
        assert_eq!(said.code, 0, "{said:?}");
    }
    for (what, why) in [
        ("directory", "directory"),
        ("pipe", "empty"),
        ("zero", "regular file"),
    ] {
        let odd = at.home(what);
        match what {
            "directory" => fs::create_dir(&odd).unwrap(),
            "pipe" => assert!(Command::new("mkfifo").arg(&odd).status().unwrap().success()),
            _ => symlink("/dev/zero", &odd).unwrap(),
        }
        let said = list(&odd, &secret);
        let names = said.stderr.contains(odd.to_str().unwrap());
        assert!(
            said.code == 78 && names && said.stderr.contains(why),
            "{said:?}"
        );
    }
    fs::write(&secret, b"geheim\xe4\n").unwrap();
    let said = list(&role, &secret);
    assert!(
        said.code != 0 && !said.stderr.contains("geheim"),
        "{said:?}"
    );
}
