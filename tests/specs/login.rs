//! Every kind of login is a separate session, from its first command on.

use std::process::Stdio;

use vctl_common::session::{Origin, Stamp};
use vctl_tests::lab::{Lab, Options, PATIENCE, Recorded, Subject, eventually};

use vctl_tests::fixture::{await_file, lab, touch};

#[test]
fn the_first_command_is_never_missed() {
    let Some(lab) = lab() else { return };
    for serial in 1..=20 {
        let who = lab
            .certificate(&format!("person-{serial}"), serial)
            .unwrap();
        assert!(lab.ssh(&who, "true").unwrap().status.success());
        let session = lab.whole_session(&who).unwrap();
        assert_eq!(session.count("bash -c true"), 1, "{:#?}", session.summary());
        let certificate = session.session.opened.auth.certificate.as_ref().unwrap();
        assert_eq!(certificate.key_id, who.key_id);
        assert_eq!(session.session.opened.stamp, Stamp::InTime);
        assert_eq!(session.session.opened.origin, Origin::Login);
    }
}

#[test]
fn a_command_shows_its_arguments_and_how_it_ended() {
    let Some(lab) = lab() else { return };
    let who = lab.certificate("alice", 7).unwrap();
    assert_eq!(
        lab.ssh(&who, "ls /does-not-exist").unwrap().status.code(),
        Some(2)
    );
    let session = lab.whole_session(&who).unwrap();
    let (event, _) = session
        .execs()
        .find(|(_, exec)| exec.argv == [b"ls".to_vec(), b"/does-not-exist".to_vec()])
        .unwrap();
    let (_, exit) = session
        .exits()
        .find(|(exit, _)| exit.process == event.process)
        .unwrap();
    assert_eq!(exit.status, vctl_common::event::ExitStatus::Code(2));
}

#[test]
fn scp_and_sftp_are_sessions() {
    let Some(lab) = lab() else { return };
    let (file, copy) = (lab.root().join("file"), lab.root().join("copy"));
    std::fs::write(&file, "content").unwrap();
    let scp = lab.certificate("scp", 1).unwrap();
    let legacy = lab.certificate("legacy-scp", 2).unwrap();
    let sftp = lab.certificate("sftp", 3).unwrap();
    assert!(
        lab.scp_command(&scp)
            .arg(&file)
            .arg(lab.remote("copied"))
            .status()
            .unwrap()
            .success()
    );
    let mut command = lab.scp_command(&legacy);
    assert!(
        command
            .arg("-O")
            .arg(lab.remote("copied"))
            .arg(&copy)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(std::fs::read(&copy).unwrap(), b"content");
    let listing = lab.root().join("batch");
    std::fs::write(&listing, "ls\n").unwrap();
    let mut command = lab.sftp_command(&sftp);
    command
        .arg("-b")
        .arg(&listing)
        .arg(lab.remote(""))
        .stdout(Stdio::null());
    assert!(command.status().unwrap().success());
    assert_eq!(
        lab.whole_session(&scp)
            .unwrap()
            .runs_of("sftp-server")
            .count(),
        1
    );
    assert_eq!(
        lab.whole_session(&legacy).unwrap().runs_of("scp").count(),
        1
    );
    assert_eq!(
        lab.whole_session(&sftp)
            .unwrap()
            .runs_of("sftp-server")
            .count(),
        1
    );
}

#[test]
fn a_forced_command_is_recorded_and_not_what_was_asked_for() {
    let Some(lab) = lab() else { return };
    let user = lab.user().to_owned();
    let options = ["force-command=id -u"];
    let subject = Subject {
        key_id: "forced",
        serial: 5,
        principals: &user,
        options: &options,
    };
    let who = lab.certificate_of(0, subject).unwrap();
    lab.ssh_ok(&who, "touch wanted").unwrap();
    let session = lab.whole_session(&who).unwrap();
    assert_eq!(
        (session.count("id -u") > 0, session.count("touch")),
        (true, 0)
    );
}

#[test]
fn a_terminal_is_named_and_its_absence_too() {
    let Some(lab) = lab() else { return };
    let (with, without) = (
        lab.certificate("with", 1).unwrap(),
        lab.certificate("without", 2).unwrap(),
    );
    assert!(
        lab.ssh_terminal(&with, "/bin/tty")
            .unwrap()
            .status
            .success()
    );
    lab.ssh_ok(&without, "/bin/true").unwrap();
    let terminals = |session: &Recorded, command: &str| -> Vec<Option<String>> {
        let execs = session
            .execs()
            .filter(|(_, exec)| exec.argv == [command.as_bytes()]);
        execs
            .map(|(_, exec)| exec.tty.map(|tty| tty.to_string()))
            .collect()
    };
    let named = terminals(&lab.whole_session(&with).unwrap(), "/bin/tty");
    assert!(named[0].as_ref().unwrap().starts_with("pts/"), "{named:?}");
    assert_eq!(
        terminals(&lab.whole_session(&without).unwrap(), "/bin/true"),
        [None]
    );
}

#[test]
fn two_logins_with_one_certificate_are_two_sessions() {
    let Some(lab) = lab() else { return };
    let who = lab.certificate("alice", 9).unwrap();
    lab.ssh_ok(&who, "echo first; true one").unwrap();
    lab.ssh_ok(&who, "echo second; true two").unwrap();
    let sessions = lab.closed_sessions(&who, 2).unwrap();
    assert_ne!(sessions[0].session.opened.id, sessions[1].session.opened.id);
    for session in &sessions {
        session.ensure_whole().unwrap();
    }
}

#[test]
fn equal_serials_of_two_authorities_are_two_certificates() {
    let Some(lab) = Lab::or_skip(&Options {
        more_authorities: 1,
        ..Options::default()
    }) else {
        return;
    };
    let user = lab.user().to_owned();
    for (authority, key_id) in [(0, "alice"), (1, "mallory")] {
        let subject = Subject {
            key_id,
            serial: 77,
            principals: &user,
            options: &[],
        };
        let who = lab.certificate_of(authority, subject).unwrap();
        lab.ssh_ok(&who, format!("ls {key_id}; true")).unwrap();
    }
    let who = lab.certificate("unused", 77).unwrap();
    let sessions = lab.closed_sessions(&who, 2).unwrap();
    let certificates: Vec<_> = sessions
        .iter()
        .map(|session| session.session.opened.auth.certificate.clone().unwrap())
        .collect();
    assert_ne!(
        certificates[0].ca_fingerprint,
        certificates[1].ca_fingerprint
    );
    for (session, certificate) in sessions.iter().zip(&certificates) {
        let other = if certificate.key_id == "alice" {
            "mallory"
        } else {
            "alice"
        };
        assert_eq!(session.count(other), 0, "{:?}", session.summary());
        assert!(session.count(&certificate.key_id) > 0);
    }
}

#[test]
fn a_login_without_a_certificate_is_a_session_without_a_serial() {
    let Some(lab) = lab() else { return };
    let key = lab.plain_key().unwrap();
    lab.ssh_ok(&key, "true").unwrap();
    let mut sessions = Vec::new();
    let closed = eventually(PATIENCE, || {
        sessions = lab.sessions()?;
        Ok(sessions
            .iter()
            .any(|session| session.session.closed.is_some()))
    });
    assert!(closed.unwrap());
    let auth = &sessions[0].session.opened.auth;
    assert_eq!(auth.certificate, None);
    assert_eq!(auth.method.as_deref(), Some("publickey"));
    assert!(
        auth.key_fingerprint
            .as_ref()
            .unwrap()
            .starts_with("SHA256:"),
        "{auth:?}"
    );
    sessions[0].ensure_whole().unwrap();
}

#[test]
fn processes_outside_sessions_are_not_recorded() {
    let Some(lab) = lab() else { return };
    let who = lab.certificate("alice", 3).unwrap();
    let work = "touch inside; while [ ! -e leave ]; do sleep 0.1; done";
    let child = lab.ssh_start(&who, work).unwrap();
    await_file(&lab.home().join("inside"));
    for _ in 0..50 {
        std::process::Command::new("true")
            .arg("outside")
            .status()
            .unwrap();
    }
    touch(&lab.home().join("leave"));
    assert!(child.wait_with_output().unwrap().status.success());
    let session = lab.whole_session(&who).unwrap();
    assert_eq!(session.count("outside"), 0);
    assert_eq!(lab.sessions().unwrap().len(), 1);
}
