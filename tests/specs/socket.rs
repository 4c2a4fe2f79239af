//! A login never waits for clients of the stamp socket, and a client cannot create a session without a login.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use vctl_common::session::Stamp;
use vctl_tests::lab::{Lab, PATIENCE, eventually};

use vctl_tests::fixture::{NEVER_HUNG, await_that, lab};

#[test]
fn a_caller_that_is_not_root_is_refused_and_counted() {
    let Some(lab) = lab() else { return };
    let socket = lab.root().join("run/agent.sock");
    // The mode of the socket already refuses other users, but the agent must not rely on the mode alone.
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let forge = format!(
        "socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un(q({}))) or exit 3; \
         send(S, q({{}}).chr(10), MSG_NOSIGNAL); exit(defined(scalar <S>) ? 4 : 0)",
        socket.display()
    );
    let user = nix::unistd::User::from_name(lab.user()).unwrap().unwrap();
    let forger = Command::new("perl")
        .args(["-MSocket", "-e", &forge])
        .uid(user.uid.as_raw())
        .status()
        .unwrap();
    assert_eq!(
        forger.code(),
        Some(0),
        "the client got an answer, or no connection"
    );
    await_that("the refused client is counted", || {
        let log = lab.agent.last_words();
        log.contains("A stamp request failed.") && log.contains("is not root")
    });
    assert!(lab.sessions().unwrap().is_empty());
    // The hook does not trust a socket that other users may use.
    fs::set_permissions(&socket, Permissions::from_mode(0o600)).unwrap();
    let who = lab.certificate("alice", 1).unwrap();
    lab.ssh_ok(&who, "true").unwrap();
    lab.whole_session(&who).unwrap();
    assert_eq!(lab.sessions().unwrap().len(), 1);
}

#[test]
fn invalid_requests_open_no_session_and_delay_no_login() {
    let Some(lab) = lab() else { return };
    let socket = lab.root().join("run/agent.sock");
    let say = |line: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // The agent may refuse before the client has sent everything, which is not a failure.
        let _ = stream.write_all(line);
        stream
    };
    let lines: [&[u8]; 6] = [
        b"\n",
        b"{}\n",
        b"\xff\xfe\0garbage\n",
        b"{\"version\":4000000000}\n",
        b"{\"version\":1,\"session_id\":\"../../etc/passwd\"}\n",
        &vec![b'['; 1 << 20],
    ];
    for line in lines {
        let mut stream = say(line);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The agent answers or closes the connection soon. The answer itself does not matter.
        let ended = stream.read_to_end(&mut Vec::new());
        let kind = ended.as_ref().err().map(std::io::Error::kind);
        assert_ne!(kind, Some(std::io::ErrorKind::WouldBlock), "{line:?}");
    }
    // More clients than the agent serves at a time, each with an incomplete request. Each occupies its place for a
    // second, so a login has one second for everything else. A slow machine may miss that, but not every time.
    let in_time = (1..=5).any(|serial| {
        let who = lab.certificate("alice", serial).unwrap();
        let slow: Vec<_> = (0..80).map(|_| say(b"{\"version\":1,")).collect();
        let asked = Instant::now();
        lab.ssh_ok(&who, "true").unwrap();
        assert!(asked.elapsed() < NEVER_HUNG, "{:?}", asked.elapsed());
        drop(slow);
        let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
        assert_eq!(lab.sessions().unwrap().len() as u64, serial);
        session.session.opened.stamp == Stamp::InTime && session.ensure_whole().is_ok()
    });
    assert!(in_time, "{}", lab.agent.last_words());
}

#[test]
fn an_invalid_certificate_affects_only_its_session() {
    let Some(lab) = lab() else { return };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../agent/src/session/testdata/auth_info/corpus");
    let cases: Vec<_> = fs::read_dir(corpus)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        // The environment cannot contain NUL, and at most 128 KiB in one variable.
        .filter(|info| !info.contains(&0) && info.len() < 100_000)
        .collect();
    assert!(cases.len() > 20);
    for info in &cases {
        stamp(&lab, info);
    }
    let all = eventually(PATIENCE, || {
        let sessions = lab.sessions()?;
        Ok(sessions.len() == cases.len() && sessions.iter().all(|s| s.session.closed.is_some()))
    });
    let sessions = lab.sessions().unwrap();
    assert!(all.unwrap(), "{} of {}", sessions.len(), cases.len());
    for session in sessions {
        let opened = &session.session.opened;
        assert_eq!(opened.stamp, Stamp::InTime);
        assert_eq!(opened.auth.certificate, None, "{:?}", opened.auth);
        assert!(opened.auth.problem.is_some(), "{:?}", opened.auth);
    }
}

/// Runs the hook as PAM does for a login. The login ends at once.
fn stamp(lab: &Lab, auth_info: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let asked = Instant::now();
    let hook = lab.agent.command("stamp");
    // The parent of the hook is the login, so it must not be this program.
    let status = Command::new("sh")
        .args(["-c", "\"$@\"; exit $?", "sh"])
        .arg(hook.get_program())
        .args(hook.get_args())
        .env("PAM_TYPE", "open_session")
        .env("PAM_SERVICE", "sshd")
        .env("PAM_USER", lab.user())
        .env("SSH_AUTH_INFO_0", std::ffi::OsStr::from_bytes(auth_info))
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < NEVER_HUNG, "{:?}", asked.elapsed());
}
