//! Programs that use SSH. Each one does a task that identifies its session on the host.

use std::fs;
use std::process::Command;

use super::Desk;
use crate::login::{Said, give};

/// The target of a connection.
pub(super) struct To<'a> {
    pub(super) host: &'static str,
    pub(super) user: &'a str,
}

/// Runs a program, and returns text that the command line of a process on the host must contain.
pub(super) type Run = fn(&Desk<'_>, &To<'_>) -> String;

pub(super) const PROGRAMS: &[(&str, Run)] = &[
    ("a shell of vctl", shell),
    ("a command of vctl", command),
    ("ssh", ssh),
    ("scp", scp),
    ("sftp", sftp),
    ("rsync", rsync),
    ("git", git),
    ("ansible", ansible),
];

fn shell(desk: &Desk<'_>, to: &To<'_>) -> String {
    let args = ["ssh", "-q", "-tt", "--server", to.host];
    let said = desk
        .operator
        .at
        .given(&args, "/usr/bin/printf %s typed-in; exit 5\n");
    assert_eq!(said.code, 5, "{said:?}");
    "/usr/bin/printf %s typed-in".to_owned()
}

fn command(desk: &Desk<'_>, to: &To<'_>) -> String {
    let args = ["ssh", "-q", "--server", to.host, "--", "/bin/echo", "said"];
    let said = desk.operator.at.run(&args);
    assert_eq!((said.code, &*said.stdout), (0, "said\n"), "{said:?}");
    "/bin/echo said".to_owned()
}

fn ssh(desk: &Desk<'_>, to: &To<'_>) -> String {
    let said = desk.ssh(&[to.host, "/bin/echo in; exit 7"]);
    assert_eq!((said.code, &*said.stdout), (7, "in\n"), "{said:?}");
    "/bin/echo in".to_owned()
}

fn scp(desk: &Desk<'_>, to: &To<'_>) -> String {
    let host = to.host;
    let there = format!(
        "/tmp/{host}-{}",
        desk.home("").file_name().unwrap().display()
    );
    let from = desk.home("work/sent");
    let text: String = (0..100_000).map(|number| number.to_string()).collect();
    fs::write(&from, &text).unwrap();
    let to = format!("{host}:{there}");
    let output = desk
        .command("scp", &["-q", from.to_str().unwrap(), &to])
        .output()
        .unwrap();
    let said = Said::from(output);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read_to_string(&there).unwrap(), text);
    fs::remove_file(there).unwrap();
    "sftp-server".to_owned()
}

fn sftp(desk: &Desk<'_>, to: &To<'_>) -> String {
    let host = to.host;
    let said = give(desk.command("sftp", &["-q", "-b", "-", host]), "pwd\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout.contains("Remote working directory: /"),
        "{said:?}"
    );
    "sftp-server".to_owned()
}

fn rsync(desk: &Desk<'_>, to: &To<'_>) -> String {
    let host = to.host;
    let shell = format!("ssh -F {}", desk.config().display());
    let got = desk.home("work/got");
    let from = format!("{host}:/etc/hosts");
    let args = ["-e", &shell, &from, got.to_str().unwrap()];
    let said = Said::from(desk.operator.at.program("rsync", &args).output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read(&got).unwrap(), fs::read("/etc/hosts").unwrap());
    fs::remove_file(got).unwrap();
    "rsync --server --sender".to_owned()
}

fn git(desk: &Desk<'_>, to: &To<'_>) -> String {
    let host = to.host;
    let there = format!(
        "/tmp/{host}-{}.git",
        desk.home("").file_name().unwrap().display()
    );
    let made = desk
        .operator
        .at
        .program("git", &["init", "-q", "--bare", &there])
        .status();
    assert!(made.unwrap().success());
    // On the host, git refuses a repository of another owner.
    let owned = Command::new("chown").args(["-R", to.user, &there]).status();
    assert!(owned.unwrap().success());
    let clone = desk.home("work/clone");
    let url = format!("{host}:{there}");
    let mut command = desk
        .operator
        .at
        .program("git", &["clone", "-q", &url, clone.to_str().unwrap()]);
    command.env(
        "GIT_SSH_COMMAND",
        format!("ssh -F {}", desk.config().display()),
    );
    let said = Said::from(command.output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(clone.join(".git").is_dir());
    fs::remove_dir_all(clone).unwrap();
    fs::remove_dir_all(&there).unwrap();
    format!("git-upload-pack '{there}'")
}

fn ansible(desk: &Desk<'_>, to: &To<'_>) -> String {
    let host = to.host;
    let inventory = format!("{host},");
    // The remote files must not be in root's home.
    let temporary = format!("/tmp/{host}-{}", to.user);
    // Ansible runs `ssh` several times over one connection. The connection stays open until the spec closes it.
    let control = format!("ControlPath={}", desk.home("control").display());
    let persist = format!("-o ControlMaster=auto -o ControlPersist=60s -o {control}");
    let args = format!("-F {} {persist}", desk.config().display());
    let mut command = desk
        .operator
        .at
        .program("ansible", &["all", "-i", &inventory, "-m", "ping"]);
    command
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_SSH_ARGS", args)
        .env("ANSIBLE_REMOTE_TEMP", &temporary);
    let said = Said::from(command.output().unwrap());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("\"ping\": \"pong\""), "{said:?}");
    let said = desk.ssh(&["-o", &control, "-O", "exit", host]);
    assert_eq!(said.code, 0, "{said:?}");
    fs::remove_dir_all(temporary).unwrap();
    "AnsiballZ_ping.py".to_owned()
}
