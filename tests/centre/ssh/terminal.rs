//! The terminal works for the host from the first key on, and vctl restores it at the end.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::lab::eventually;

use super::{Operator, shared};

const PROMPT: &str = "$ ";

#[test]
fn a_shell_has_a_terminal_of_our_size_and_its_status_is_ours() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-shell");
    operator.knows("shell-1", centre.host.as_ref().unwrap());
    let mut terminal = operator.before_a_person(&["shell-1"]);
    terminal.wait_for(PROMPT).unwrap();
    assert!(
        !terminal.echoes().unwrap(),
        "the local terminal still echoes"
    );
    terminal.type_in("stty size; echo $TERM\r").unwrap();
    terminal.wait_for("24 100").unwrap();
    terminal.wait_for("xterm").unwrap();
    terminal.resize(40, 132).unwrap();
    terminal
        .type_in("while [ \"$(stty size)\" != '40 132' ]; do sleep 0.05; done; echo resi''zed\r")
        .unwrap();
    terminal.wait_for("resized").unwrap();
    // The remote program gets Ctrl-C.
    terminal
        .type_in("sh -c \"echo run''ning; exec sleep 1000\"\r")
        .unwrap();
    terminal.wait_for("running").unwrap();
    let prompts = |shown: &str| shown.matches(PROMPT).count();
    let before = prompts(&terminal.shown());
    terminal.type_in("\x03").unwrap();
    terminal
        .wait_until(|shown| prompts(shown) > before)
        .unwrap();
    terminal.type_in("exit 7\r").unwrap();
    assert_eq!(
        terminal.end().unwrap().code(),
        Some(7),
        "{}",
        terminal.shown()
    );
    assert!(
        terminal.echoes().unwrap(),
        "vctl did not restore the terminal"
    );
    assert_eq!(operator.accesses("shell-1")[0]["exit_code"], 7);
}

#[test]
fn escapes_are_ours() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-escapes");
    operator.knows("escapes-1", centre.host.as_ref().unwrap());
    let mut terminal = operator.before_a_person(&["escapes-1"]);
    terminal.wait_for(PROMPT).unwrap();
    terminal.type_in("\r~?").unwrap();
    terminal.wait_for("Supported escapes").unwrap();
    terminal.type_in("\r~.").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(255));
    assert!(terminal.echoes().unwrap());
    assert_eq!(operator.accesses("escapes-1")[0]["result"], "closed");
}

#[test]
fn a_signal_gives_the_terminal_back_and_closes_the_row() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-signal");
    operator.knows("signal-1", centre.host.as_ref().unwrap());
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let mut terminal = operator.before_a_person(&["signal-1"]);
        terminal.wait_for(PROMPT).unwrap();
        kill(Pid::from_raw(i32::try_from(terminal.id()).unwrap()), signal).unwrap();
        assert_eq!(terminal.end().unwrap().code(), Some(code));
        assert!(terminal.echoes().unwrap());
    }
    for row in operator.accesses("signal-1") {
        assert!(row["closed_at"].is_string(), "{row}");
    }
}

#[test]
fn a_client_that_is_killed_leaves_its_row() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-killed");
    operator.knows("killed-1", centre.host.as_ref().unwrap());
    let mut child = operator.start(&["killed-1", "--", "sleep 1000"]);
    let open = || Ok(operator.accesses("killed-1").len() == 1);
    assert!(eventually(Duration::from_secs(30), open).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(operator.accesses("killed-1")[0]["result"], "open");
}

#[test]
fn a_signal_ends_the_remote_command_too() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-told");
    operator.knows("told-1", centre.host.as_ref().unwrap());
    let mut child = operator.start(&[
        "told-1",
        "--",
        "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done",
    ]);
    let mut up = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut up).unwrap();
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    // The remote command got the signal, cleaned up and reported its exit status.
    assert_eq!(child.wait().unwrap().code(), Some(5));
}
