//! Input from users and clients is hostile text: it never reaches a terminal unescaped.

use std::process::Stdio;

use vctl_tests::lab::{PATIENCE, Subject, eventually};

use vctl_tests::fixture::{Stage, await_file, await_that, lab, touch};

#[test]
fn terminal_escapes_are_shown_and_not_obeyed() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let user = lab.user().to_owned();
    let subject = Subject {
        key_id: "evil\u{1b}]0;owned\u{7}",
        serial: 6,
        principals: &user,
        options: &[],
    };
    let who = lab.certificate_of(0, subject).unwrap();
    let output = lab
        .ssh(
            &who,
            stage.script(
                "evil",
                r"$T $'\e[2J' $'\e]0;owned\a' $'a\rb' $'\u202e' $'\xff'",
            ),
        )
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    lab.whole_session(&who).unwrap();
    for arguments in [
        &["6"][..],
        &["6", "--tree"],
        &["6", "--full"],
        &["6", "--json"],
        &["--list"],
    ] {
        let output = lab
            .vctl(&[&["session", "--local"], arguments].concat())
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("output is UTF-8");
        let obeyed: Vec<_> = text
            .chars()
            .filter(|&c| (c.is_control() && c != '\n') || c == '\u{202e}')
            .collect();
        assert!(obeyed.is_empty(), "{arguments:?}: {obeyed:?}");
    }
}

#[test]
fn follow_prints_commands_at_once_and_ends_with_the_session() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 8).unwrap();
    let login = stage.start(
        &lab,
        &who,
        "touch inside; while [ ! -e leave ]; do sleep 0.1; done; ls last-words",
    );
    await_file(&lab.home().join("inside"));
    let log = lab.root().join("followed");
    let mut command = lab.vctl_command(&["session", "--local", "8", "--follow"]);
    let mut follower = command
        .stdout(Stdio::from(std::fs::File::create(&log).unwrap()))
        .spawn()
        .unwrap();
    let shows = |part: &str| {
        await_that(&format!("it shows `{part}`"), || {
            std::fs::read_to_string(&log).unwrap().contains(part)
        });
    };
    shows("touch inside");
    touch(&lab.home().join("leave"));
    let _ = login.wait_with_output().unwrap();
    shows("last-words");
    let ended = eventually(PATIENCE, || Ok(follower.try_wait()?.is_some())).unwrap();
    let _ = follower.kill();
    let _ = follower.wait();
    assert!(ended, "the command follows a session that is over");
}

#[test]
fn only_root_can_stamp_a_session() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("mallory", 9).unwrap();
    let socket = lab.root().join("run/agent.sock");
    let body = format!(
        "! perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); exit !connect(S, sockaddr_un(q({})))'",
        socket.display()
    );
    stage.run(&lab, &who, &body);
    assert_eq!(lab.sessions().unwrap().len(), 1);
}

#[test]
fn flipped_bytes_in_the_spool_are_a_gap() {
    let Some(mut lab) = lab() else { return };
    let who = lab.certificate("alice", 10).unwrap();
    lab.ssh_ok(&who, "for i in 1 2 3 4 5 6 7 8; do ls /; done")
        .unwrap();
    lab.whole_session(&who).unwrap();
    lab.agent.stop().unwrap();
    let files = std::fs::read_dir(lab.spool())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        let mut bytes = std::fs::read(&file).unwrap();
        for at in (500..bytes.len()).step_by(997) {
            bytes[at] ^= 0x55;
        }
        std::fs::write(&file, bytes).unwrap();
    }
    let output = lab.vctl(&["session", "--local", "10"]).unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!said.contains("panicked"), "{said}");
    assert!(!said.contains("complete: all"), "{said}");
    // A new agent continues with the complete records.
    lab.agent.start().unwrap();
    let later = lab.certificate("later", 11).unwrap();
    lab.ssh_ok(&later, "true").unwrap();
    lab.whole_session(&later).unwrap();
}
