//! Signals that are ignored from the start, as under `nohup` and in the background of a script.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ports::echo;
use super::{Operator, shared};

/// Returns the same command, with these signals ignored from its start.
fn ignoring(command: &Command, signals: &str) -> Command {
    let mut under = Command::new("sh");
    under
        .args(["-c", &format!("trap '' {signals}; exec \"$0\" \"$@\"")])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .current_dir(command.get_current_dir().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for (name, value) in command.get_envs() {
        under.env(name, value.unwrap_or_default());
    }
    under
}

/// Starts the command, sends the signals after it prints `ready`, and then lets it continue.
fn goes_on(mut command: Command, signals: &[Signal]) {
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    for signal in signals {
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), *signal).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"on\n").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((&*rest, child.wait().unwrap().code()), ("on\n", Some(0)));
}

const READY: &str = "echo ready; read x; sleep 0.3; echo $x";

#[test]
fn a_remote_command_outlives_all_of_them() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-ignores");
    operator.knows("ignores-1", centre.host.as_ref().unwrap());
    let command = ignoring(
        &operator.command(&["ignores-1", "--", READY]),
        "INT QUIT TERM",
    );
    goes_on(command, &[Signal::SIGQUIT, Signal::SIGINT, Signal::SIGTERM]);
}

#[test]
fn a_command_here_and_vctl_ignore_the_same() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "exec-ignores");
    let exec = operator.at.command(&["exec", "--", "sh", "-c", READY]);
    let command = ignoring(&exec, "HUP INT USR1");
    goes_on(command, &[Signal::SIGINT, Signal::SIGUSR1, Signal::SIGHUP]);
}

#[test]
fn a_connection_to_a_port_outlives_them() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "w-ignores");
    operator.knows("w-ignores-1", centre.host.as_ref().unwrap());
    let to = format!("127.0.0.1:{}", echo());
    let mut child = ignoring(&operator.command(&["-W", &to, "w-ignores-1"]), "HUP INT")
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let mut stdin = child.stdin.take().unwrap();
    // vctl installs its signal handlers first, then writes the row, then connects.
    let connected = || Ok(!operator.accesses("w-ignores-1").is_empty());
    assert!(vctl_tests::lab::eventually(super::ports::PATIENCE, connected).unwrap());
    kill(pid, Signal::SIGHUP).unwrap();
    kill(pid, Signal::SIGINT).unwrap();
    stdin.write_all(b"still here").unwrap();
    drop(stdin);
    let said = child.wait_with_output().unwrap();
    assert_eq!(
        (said.status.code(), &*said.stdout),
        (Some(0), &b"STILL HERE"[..])
    );
}
