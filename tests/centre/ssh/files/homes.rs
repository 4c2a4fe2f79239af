//! `sudo` with the `HOME` of another user, containers without a home, and homes that are not writable.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use vctl_tests::centre::Centre;

use super::{ALICE, BOB, Ground, inventory_of, said};
use crate::login::{Said, machine};

/// The commands that write below a home, or could write there.
const COMMANDS: [&[&str]; 9] = [
    &["list"],
    &["login", "--method", "approle"],
    &["agent", "--once"],
    &["cache", "refresh"],
    &["config", "trust", "--yes", "WORK"],
    &["ssh", "-q", "--server", "no-such-host", "--", "true"],
    &["ssh-config", "--install"],
    &["sync", "--dry-run"],
    &["logout", "--all"],
];

/// Returns the environment of a job that logs in without a user.
fn job(centre: &Centre, name: &str) -> [(&'static str, String); 3] {
    let [role_id, secret_id] = machine(centre, name, 600, 1200);
    [
        ("VCTL_AUTH_METHOD", "approle".to_owned()),
        ("VCTL_ROLE_ID", role_id),
        ("VCTL_SECRET_ID", secret_id),
    ]
}

fn job_with_hosts(centre: &Centre, name: &str) -> [(&'static str, String); 3] {
    let job = job(centre, name);
    let policies = json!({"token_policies": ["vctl-user", "vctl-ssh"]});
    let path = format!("auth/approle/role/{name}");
    centre.bao.admin().unwrap().post(&path, &policies).unwrap();
    job
}

#[test]
fn the_home_of_another_user_is_neither_read_nor_written() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let ground = Ground::new();
    let job = job(centre, "files-foreign");
    let work = ground.directory("work", 0, 0o755);
    fs::create_dir(work.join(".vctl")).unwrap();
    fs::write(work.join(".vctl/config.yaml"), "sync_probe_timeout: 1s\n").unwrap();
    let root_home = ground.directory("root", 0, 0o700);
    for (kind, uid, with_state) in [("root", 0, false), ("root", 0, true), ("bob", BOB, true)] {
        let home = ground.directory(&format!("{kind}-{with_state}"), ALICE, 0o777);
        for dir in [".ssh", ".config", ".config/vctl"] {
            let name = format!("{kind}-{with_state}/{dir}");
            ground.directory(&name, ALICE, 0o777);
        }
        fs::write(
            home.join(".ssh/config"),
            "Host alices\n  HostName 127.0.0.1\n",
        )
        .unwrap();
        // This file would send a login of root to a server that alice chose.
        fs::write(
            home.join(".config/vctl/config.yaml"),
            "vault_addr: https://127.0.0.1:1\n",
        )
        .unwrap();
        if with_state {
            ground.directory(&format!("{kind}-{with_state}/.vctl"), ALICE, 0o700);
        }
        let before = inventory_of(&home);
        for args in COMMANDS {
            let args: Vec<&str> = args
                .iter()
                .map(|arg| match *arg {
                    "WORK" => work.to_str().unwrap(),
                    arg => arg,
                })
                .collect();
            let mut command = ground.vctl(centre, uid, &args);
            command.envs(job.clone()).env("HOME", &home);
            let said = in_root_home(&command, &root_home);
            let why = format!("`HOME` is `{}`", home.display());
            let notes = said
                .stderr
                .lines()
                .filter(|line| line.starts_with("note: `HOME`"));
            let is_said = said.stderr.contains(&why) && notes.count() < 2;
            assert!(is_said, "{uid} {args:?}: {said:?}");
            if args[0] == "list" {
                assert_eq!(said.code, 0, "{uid} {args:?}: {said:?}");
            }
        }
        assert_eq!(inventory_of(&home), before, "{kind} {with_state}");
    }
    // Root gets a file in its own home instead, as with `sudo -H`.
    assert!(root_home.join(".vctl/trusted").exists());
}

/// Runs a command with `home` mounted over the real home of root.
fn in_root_home(command: &Command, home: &Path) -> Said {
    let root = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(0))
        .unwrap()
        .unwrap();
    let mut inside = Command::new("unshare");
    inside
        .args([
            "--mount",
            "sh",
            "-c",
            "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"",
        ])
        .arg(home)
        .arg(root.dir)
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            inside.env(name, value);
        }
    }
    said(inside.current_dir("/").stdin(std::process::Stdio::null()))
}

#[test]
fn work_goes_on_without_a_home_that_can_be_written() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let ground = Ground::new();
    let job = job_with_hosts(centre, "files-homeless");
    ground.directory("read-only", ALICE, 0o500);
    ground.directory("sealed/home", ALICE, 0o700);
    ground.directory("sealed", 0, 0o700);
    ground.directory("others", BOB, 0o755);
    ground.directory("file-below", ALICE, 0o700);
    fs::write(ground.path("file-below/.vctl"), "").unwrap();
    ground.directory("link-below", ALICE, 0o700);
    std::os::unix::fs::symlink("/tmp", ground.path("link-below/.vctl")).unwrap();
    fs::write(ground.path("file"), "").unwrap();
    ground.directory("roots-below", ALICE, 0o700);
    ground.directory("roots-below/.vctl", 0, 0o700);
    let first = ground.text("read-only");
    let homes = [
        Some(ground.text("read-only")),
        Some(ground.text("sealed/home")),
        Some(ground.text("others")),
        Some(ground.text("file-below")),
        Some(ground.text("link-below")),
        Some(ground.text("file")),
        Some(ground.text("roots-below")),
        Some("relative/home".to_owned()),
        Some("/nonexistent/home".to_owned()),
        Some("/dev/null".to_owned()),
        Some(String::new()),
        None,
    ];
    for home in homes {
        for (args, code) in [
            (&["list", "-o", "name"][..], 0),
            (&["token"], 0),
            (&["exec", "--", "true"], 0),
            (&["known-hosts", "--for", "ORDER", "h"], 0),
            // Postgres answered that this host does not exist.
            (&["ssh", "-q", "--server", "no-such-host", "--", "true"], 66),
            (&["login", "--method", "approle"], 78),
            (&["logout"], 0),
        ] {
            // The first home runs all commands. Each other home runs one command that reads and one that writes.
            let is_first = home.as_deref() == Some(&*first);
            if !is_first && !["list", "login"].contains(&args[0]) {
                continue;
            }
            let mut command = ground.vctl(centre, ALICE, args);
            command.envs(job.clone());
            if let Some(home) = &home {
                command.env("HOME", home);
            }
            let said = said(&mut command);
            assert_eq!(said.code, code, "{home:?} {args:?}: {said:?}");
        }
    }
    // A directory that belongs to the user is enough.
    let own = ground.directory("own", ALICE, 0o700);
    let mut command = ground.vctl(centre, ALICE, &["login", "--method", "approle"]);
    let said = said(command.envs(job).env("HOME", "/").env("VCTL_HOME", &own));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::metadata(own.join(".vctl/token")).unwrap().uid(), ALICE);
}

#[test]
fn a_full_disk_keeps_no_command_from_its_work() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let ground = Ground::new();
    let job = job(centre, "files-full");
    let home = ground.directory("home", ALICE, 0o700);
    let script = format!(
        "mount -t tmpfs -o size=4k,uid={ALICE},mode=0700 none \"$0\" && \
         mkdir \"$0/.vctl\" && chown {ALICE}:{ALICE} \"$0/.vctl\" && {{ cat /dev/zero > \"$0/full\"; exec \"$@\"; }}"
    );
    for args in [
        &["list", "-o", "name"][..],
        &["token"],
        &["exec", "--", "true"],
    ] {
        let command = ground.vctl(centre, ALICE, args);
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "sh", "-c", &script]).arg(&home);
        inside.arg(command.get_program()).args(command.get_args());
        inside
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &home);
        inside
            .envs(centre.environment())
            .envs(job.clone())
            .current_dir("/");
        let said = said(&mut inside);
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        assert!(said.stderr.contains("No space left"), "{args:?}: {said:?}");
    }
}

#[test]
fn files_that_are_replaced_keep_owner_and_mode() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let ground = Ground::new();
    let home = ground.directory("home", 0, 0o700);
    let dotfiles = ground.directory("dotfiles", ALICE, 0o755);
    let file = dotfiles.join("ssh_config");
    let before = b"# f\xfcr alle\r\nHost x\r\n".as_slice();
    fs::write(&file, before).unwrap();
    chown(&file, Some(ALICE), Some(BOB)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(home.join(".ssh")).unwrap();
    std::os::unix::fs::symlink(&file, home.join(".ssh/config")).unwrap();
    let job = job(centre, "files-kept");
    for option in ["--install", "--uninstall"] {
        let mut command = ground.vctl(centre, 0, &["ssh-config", option]);
        let said = said(command.envs(job.clone()).env("HOME", &home));
        assert_eq!(said.code, 0, "{said:?}");
        let metadata = fs::metadata(&file).unwrap();
        let kept = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
        assert_eq!(kept, (ALICE, BOB, 0o640), "{option}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(home.join(".ssh/config").is_symlink());
}
