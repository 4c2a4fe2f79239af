//! An sshd that was started inside a session passes that session's mark to each login through it.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use vctl_common::session::{GapCause, Stamp};
use vctl_tests::centre::free_port;
use vctl_tests::lab::{Certificate, Lab, Options, Recorded};

use vctl_tests::fixture::{Stage, await_that, exec_of, touch};

#[test]
fn a_login_through_an_sshd_of_a_session_is_its_own() {
    let options = Options {
        more_users: 1,
        ..Options::default()
    };
    let Some(mut lab) = Lab::or_skip(&options) else {
        return;
    };
    let stage = Stage::set(&lab);
    let [alice, bob, carol, dave] = [("alice", 1), ("bob", 2), ("carol", 3), ("dave", 4)]
        .map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let port = free_port().unwrap();
    let program = lab.root().join(lab.service());
    let config = lab.root().join("sshd_config");
    let sshd = format!(
        "sudo -n {} -D -e -f {} -o ListenAddress=127.0.0.1:{port} -o PidFile=$HOME/pid > log 2>&1 &\n\
         while [ ! -e leave ]; do sleep 0.1; done; sudo -n kill $(cat pid)",
        program.display(),
        config.display()
    );
    let of_alice = stage.start(&lab, &alice, &sshd);
    await_that("the second sshd listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let waits = |lab: &Lab, who: &Certificate| {
        let name = &who.key_id;
        let body =
            format!("touch in-{name}; while [ ! -e go-{name} ]; do sleep 0.1; done; $T; true");
        let mut login = start_at(lab, who, port, &stage.script(name, &body));
        let inside = other_home(lab).join(format!("in-{name}"));
        await_that("the login is inside, or over", || {
            inside.exists() || login.try_wait().unwrap().is_some()
        });
        if !inside.exists() {
            let log = std::fs::read_to_string(lab.home().join("log"));
            panic!("{:?} {log:?}", login.wait_with_output().unwrap());
        }
        login
    };
    let goes_on = |lab: &Lab, who: &Certificate, login: Child| {
        touch(&other_home(lab).join(format!("go-{}", who.key_id)));
        let output = login.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    // In time.
    let login = waits(&lab, &bob);
    goes_on(&lab, &bob, login);
    // Stamped late.
    lab.agent.kill().unwrap();
    let login = waits(&lab, &carol);
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    goes_on(&lab, &carol, login);
    // Without a hook.
    lab.set_pam_lines("").unwrap();
    let login = waits(&lab, &dave);
    await_that("the login without a stamp is recorded", || {
        without_stamp(&lab).is_some()
    });
    goes_on(&lab, &dave, login);
    touch(&lab.home().join("leave"));
    of_alice.wait_with_output().unwrap();

    let sessions = [
        ("alice", lab.closed_sessions(&alice, 1).unwrap().remove(0)),
        ("bob", lab.closed_sessions(&bob, 1).unwrap().remove(0)),
        ("carol", lab.closed_sessions(&carol, 1).unwrap().remove(0)),
        ("dave", without_stamp(&lab).unwrap()),
    ];
    let truths = stage.running();
    assert_eq!(truths.len(), 3, "{truths:?}");
    for truth in &truths {
        for (key_id, session) in &sessions {
            let is_there = exec_of(session, truth).is_some();
            let summary = session.summary();
            assert_eq!(is_there, truth.case == *key_id, "{key_id}: {summary:#?}");
        }
    }
    assert_eq!(sessions[1].1.session.opened.stamp, Stamp::InTime);
}

fn without_stamp(lab: &Lab) -> Option<Recorded> {
    let sessions = lab.sessions().unwrap();
    sessions.into_iter().find(|one| {
        let gaps = &one.session.gaps;
        gaps.iter()
            .any(|gap| gap.cause == GapCause::LoginWithoutStamp)
    })
}

/// The account of the logins through the second sshd. A login to the account of the session that started it would keep
/// the audit session: pam_loginuid sets no login uid that is set already.
fn other_user(lab: &Lab) -> &str {
    &lab.users()[1]
}

fn other_home(lab: &Lab) -> PathBuf {
    lab.root().join("homes").join(other_user(lab))
}

/// Logs in at another port. The host key is the same.
fn start_at(lab: &Lab, who: &Certificate, port: u16, script: &str) -> Child {
    let usual = lab.ssh_command(who, other_user(lab));
    let mut command = Command::new(usual.get_program());
    command.arg("-o");
    command.arg(format!("HostKeyAlias=[127.0.0.1]:{}", lab.port()));
    command.args(["-p", &port.to_string()]);
    command.args(usual.get_args()).arg(script);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}
