//! Specs of the lab itself, which all other specs need.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use vctl_tests::lab::{Lab, Options, process};

use vctl_tests::fixture::await_that;

#[test]
fn a_lab_accepts_a_certificate_and_leaves_nothing() {
    let Some(lab) = Lab::or_skip(&Options::default()) else {
        return;
    };
    let alice = lab.certificate("alice", 11).unwrap();
    assert_eq!(lab.ssh_ok(&alice, "id -un").unwrap().trim(), lab.user());
    assert_eq!(lab.ssh_ok(&alice, "sudo -n id -un").unwrap().trim(), "root");
    let (user, root) = (lab.user().to_owned(), lab.root().to_owned());
    let failures = lab.end();
    assert!(failures.is_empty(), "{failures:?}");
    assert!(nix::unistd::User::from_name(&user).unwrap().is_none());
    assert!(!root.exists());
}

#[test]
fn a_lab_that_ends_leaves_the_mounts_that_others_use() {
    let Some(first) = Lab::or_skip(&Options::default()) else {
        return;
    };
    let second = Lab::start(&Options::default()).unwrap();
    assert!(first.end().is_empty());
    let tracepoint = Path::new("/sys/kernel/tracing/events/syscalls/sys_exit_execve");
    assert!(tracepoint.exists());
    assert!(Path::new("/sys/fs/bpf").join(second.id()).exists());
}

#[test]
fn ctrl_c_ends_the_demo_and_undoes_what_it_changed() {
    let Some(lab) = Lab::or_skip(&Options::default()) else {
        return;
    };
    let (mut demo, id) = kept_demo(&lab);
    let pid = nix::unistd::Pid::from_raw(demo.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    assert_eq!(left_of(&id), Vec::<String>::new());
}

#[test]
fn the_next_lab_cleans_up_after_a_killed_one() {
    let Some(lab) = Lab::or_skip(&Options::default()) else {
        return;
    };
    let (mut demo, id) = kept_demo(&lab);
    assert_ne!(left_of(&id), Vec::<String>::new());
    demo.kill().unwrap();
    demo.wait().unwrap();
    drop(Lab::start(&Options::default()).unwrap());
    // The lab of another spec may have started this undo before ours.
    await_that("all changes of the lab are undone", || {
        left_of(&id).is_empty()
    });
}

/// Starts a demo that stays, and returns the name of its lab.
fn kept_demo(lab: &Lab) -> (Child, String) {
    let program = lab.programs.directory.join("demo");
    let mut command = Command::new(program);
    let mut demo = command
        .arg("--keep")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(demo.stdout.take().unwrap());
    let mut lines = output.lines().map(Result::unwrap);
    let line = lines
        .find(|line| line.contains("session --local --spool "))
        .unwrap();
    let spool = line.split("--spool /run/").nth(1).unwrap();
    let id = spool.split('/').next().unwrap().to_owned();
    // The last line. After it the demo only waits.
    lines
        .find(|line| line.starts_with("Ctrl-C here ends it"))
        .unwrap();
    (demo, id)
}

/// Returns the files and processes of a lab with that name.
fn left_of(id: &str) -> Vec<String> {
    let places = [
        "/run",
        "/etc/pam.d",
        "/etc/sudoers.d",
        "/sys/fs/bpf",
        "/var/lib/vctl-lab",
    ];
    let entries = places
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flatten();
    let names = entries.map(|entry| entry.unwrap().path().display().to_string());
    let mut left: Vec<_> = names.filter(|name| name.contains(id)).collect();
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    left.extend(
        accounts
            .lines()
            .filter(|line| line.starts_with(id))
            .map(str::to_owned),
    );
    let sshd = process::running(Path::new("/usr/sbin/sshd"), Path::new(id)).unwrap();
    left.extend(sshd.iter().map(|pid| format!("sshd {pid}")));
    left
}
