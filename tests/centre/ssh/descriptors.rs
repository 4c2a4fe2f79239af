//! Inherited descriptors that are non-blocking, full or closed.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{Operator, shared};
use crate::login::{Workstation, person};

/// Returns a pipe that holds one page. Neither end blocks.
fn pipe() -> (PipeReader, PipeWriter) {
    let (read, write) = io::pipe().unwrap();
    fcntl(&write, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (read, write)
}

fn unblocked(end: impl AsFd) {
    fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
}

/// Runs the command with a non-blocking standard output and reads the output late. Returns the exit code and the number
/// of bytes.
fn read_late(mut command: Command) -> (Option<i32>, usize) {
    let (mut read, write) = pipe();
    unblocked(&write);
    let mut child = command.stdout(write).spawn().unwrap();
    drop(command);
    // By now, the command has filled the pipe, unless it is slower than this.
    thread::sleep(Duration::from_millis(300));
    let mut all = Vec::new();
    read.read_to_end(&mut all).unwrap();
    (child.wait().unwrap().code(), all.len())
}

#[test]
fn a_slow_reader_of_any_command_gets_all() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    for args in [
        &["completions", "bash"][..],
        &["man"],
        &["completions", "fish"],
    ] {
        let wanted = at.run(args).stdout.len();
        assert!(wanted > 4096, "{args:?}");
        assert_eq!(read_late(at.command(args)), (Some(0), wanted), "{args:?}");
    }
}

#[test]
fn a_late_secret_on_standard_input_is_waited_for() {
    let Some(centre) = shared() else { return };
    let password = person(centre, "late-secret", 3600, 7200);
    let at = Workstation::new(centre);
    let (read, mut write) = pipe();
    unblocked(&read);
    let mut command = at.command(&["login", "--username", "late-secret", "--password-stdin"]);
    let child = command.stdin(read).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    thread::sleep(Duration::from_millis(300));
    write.write_all(password.as_bytes()).unwrap();
    drop(write);
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn late_input_reaches_a_port_behind_the_host() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-late-w");
    operator.knows("late-w-1", centre.host.as_ref().unwrap());
    let (read, mut write) = pipe();
    unblocked(&read);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let mut command = operator.command(&["-W", &to, "late-w-1"]);
    let mut child = command.stdin(read).stdout(Stdio::null()).spawn().unwrap();
    drop(command);
    let (mut there, _) = listener.accept().unwrap();
    // By now, the command reads, unless it is slower than this.
    thread::sleep(Duration::from_millis(300));
    write.write_all(b"late").unwrap();
    drop(write);
    let mut heard = String::new();
    there.read_to_string(&mut heard).unwrap();
    drop(there);
    assert_eq!((&*heard, child.wait().unwrap().code()), ("late", Some(0)));
}

#[test]
fn a_full_disk_is_an_error_of_every_command() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "full-disk");
    operator.knows("full-1", centre.host.as_ref().unwrap());
    for args in [
        &["--help"][..],
        &["man"],
        &["completions", "zsh"],
        &["config"],
        &["list"],
        &["list", "-o", "jsonl"],
        &["status"],
        &["ssh", "-q", "full-1", "--", "echo hi"],
    ] {
        let mut command = operator.at.command(args);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let said = command.stdout(full).output().unwrap();
        let err = String::from_utf8_lossy(&said.stderr);
        assert_ne!(said.status.code(), Some(0), "{args:?} {err}");
        assert!(err.contains("No space left"), "{args:?} {err}");
    }
}

#[test]
fn errors_on_a_full_disk_are_no_success() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "full-err");
    operator.knows("full-err-1", centre.host.as_ref().unwrap());
    for (command, code) in [
        ("echo e >&2; echo out", 1),
        ("echo e >&2; echo out; exit 5", 5),
    ] {
        let mut command = operator.command(&["full-err-1", "--", command]);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let said = command.stderr(full).output().unwrap();
        assert_eq!(
            (said.status.code(), &*said.stdout),
            (Some(code), &b"out\n"[..])
        );
    }
}

#[test]
fn a_reader_of_errors_that_is_gone_changes_nothing() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "gone-err");
    operator.knows("gone-err-1", centre.host.as_ref().unwrap());
    let many = "head -c 3000000 /dev/zero >&2; echo out";
    let mut command = operator.command(&["gone-err-1", "--", many]);
    let (read, write) = pipe();
    drop(read);
    let said = command.stderr(write).output().unwrap();
    assert_eq!(
        (said.status.code(), &*said.stdout),
        (Some(0), &b"out\n"[..])
    );
}
