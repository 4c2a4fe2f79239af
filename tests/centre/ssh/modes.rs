//! The remote terminal gets the modes of the local terminal, and vctl's own lines on the terminal stay readable.

use vctl_tests::terminal::Terminal;

use super::ports::free_port;
use super::{Operator, shared};

/// Starts a shell line on a terminal. In the line, `vctl` means `vctl ssh -q`.
fn on_a_terminal(operator: &Operator<'_>, line: &str) -> Terminal {
    let vctl = operator.command(&[]);
    let vctl = vctl.get_program().to_str().unwrap().to_owned();
    let script = format!("vctl() {{ {vctl} ssh -q \"$@\"; }}; {line}");
    let shell = operator.at.program("bash", &["--norc", "-c", &script]);
    Terminal::start(shell, 100).unwrap()
}

#[test]
fn modes_and_characters_are_carried_over() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-modes");
    operator.knows("modes-1", centre.host.as_ref().unwrap());
    let set = "tostop -echoctl ixoff noflsh discard undef susp ^T rprnt ^O eol2 ^W 9600";
    let line = format!("stty {set}; vctl -t modes-1 -- stty -a");
    let mut terminal = on_a_terminal(&operator, &line);
    assert_eq!(terminal.end().unwrap().code(), Some(0));
    let shown = terminal.shown();
    for wanted in [
        " tostop",
        "-echoctl",
        " ixoff",
        " noflsh",
        "discard = <undef>",
        "susp = ^T",
        "rprnt = ^O",
        "eol2 = ^W",
        "speed 9600 baud",
    ] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
}

#[test]
fn a_size_that_changed_in_the_background_arrives() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-resume");
    operator.knows("resume-1", centre.host.as_ref().unwrap());
    let line = "set -m; vctl resume-1; read -r x; fg %1; exit $?";
    let mut terminal = on_a_terminal(&operator, line);
    terminal.wait_for("$ ").unwrap();
    terminal.type_in("\r~\x1a").unwrap();
    terminal.wait_for("Stopped").unwrap();
    terminal.resize(33, 77).unwrap();
    terminal.type_in("\n").unwrap();
    terminal
        .type_in("while [ \"$(stty size)\" != '33 77' ]; do sleep 0.05; done; echo resi''zed\r")
        .unwrap();
    terminal.wait_for("resized").unwrap();
    terminal.type_in("exit 7\r").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(7));
}

#[test]
fn lines_of_ours_begin_at_the_left() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-margin");
    operator.knows("margin-1", centre.host.as_ref().unwrap());
    let (there, nowhere) = (free_port(), free_port());
    let forward = format!("127.0.0.1:{there}:127.0.0.1:{nowhere}");
    let mut terminal = operator.before_a_person(&["-R", &forward, "margin-1"]);
    terminal.wait_for("$ ").unwrap();
    terminal
        .type_in(&format!("exec 3<>/dev/tcp/127.0.0.1/{there}\r"))
        .unwrap();
    terminal.wait_for("cannot connect to").unwrap();
    terminal.type_in("\r~?").unwrap();
    terminal.wait_for("beginning of a line.").unwrap();
    let shown = terminal.shown();
    for begin in ["note:", "Supported escapes:", "  ~.   end"] {
        let (before, _) = shown.split_once(begin).unwrap();
        let margin = before.trim_end_matches("\u{1b}[33m").ends_with("\r\n");
        assert!(margin, "{begin}: {shown:?}");
    }
    terminal.type_in("\r~.").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(255));
}

#[test]
fn an_escape_works_behind_input_that_is_not_taken() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-behind");
    operator.knows("behind-input-1", centre.host.as_ref().unwrap());
    let mut terminal = operator.before_a_person(&[
        "-t",
        "behind-input-1",
        "--",
        "stty raw -echo; echo rea''dy; exec sleep 1000",
    ]);
    terminal.wait_for("ready").unwrap();
    let pasted = "~not an escape\r".repeat(400_000);
    terminal.type_in(&pasted).unwrap();
    terminal.type_in("\r~?").unwrap();
    terminal.wait_for("Supported escapes").unwrap();
    terminal.type_in("\r~.").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(255));
}
