//! Programs that sshd and PAM run at login and logout are recorded separately from the user's work. A user cannot run
//! a program that is recorded in the wrong phase.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use vctl_common::event::Phase;
use vctl_common::session::Stamp;
use vctl_tests::fixture::{Stage, await_file, await_that, lab, touch};
use vctl_tests::lab::{Certificate, Lab, Options, Recorded, Subject};

/// Marker in the arguments of all programs that a hook runs. The event name of PAM follows it.
const HOOK: &str = "of-hook-";

/// Makes sshd run hooks at its logins, as an operator of a host does.
///
/// Each hook runs programs directly, below another program, in a separate session and in the background.
fn add_hooks(lab: &Lab) {
    let hook = lab.root().join("hook");
    let script = format!(
        "#!/bin/sh\n\
         /bin/echo {HOOK}$PAM_TYPE\n\
         sh -c '/bin/echo {HOOK}$PAM_TYPE below; exit 0'\n\
         setsid /bin/echo {HOOK}$PAM_TYPE apart &\n\
         (/bin/echo {HOOK}$PAM_TYPE aside; exit 0) &\n\
         wait\n"
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, Permissions::from_mode(0o700)).unwrap();
    let hook = hook.display();
    let lines = format!(
        "{stamp}\
         session optional pam_exec.so quiet type=open_session {hook} {HOOK}open_session\n\
         session optional pam_exec.so quiet type=close_session {hook} {HOOK}close_session\n",
        stamp = lab.pam_line()
    );
    lab.set_pam_lines(&lines).unwrap();
}

/// Number of runs of the hook itself and of its children.
const OF_HOOK: usize = 5;

/// Asserts that the hooks of login and logout are recorded in their phases, and that all other programs are in the
/// user's phase.
fn assert_phases(session: &Recorded) {
    let phases = |of: &str| -> Vec<Phase> {
        let of = format!("{HOOK}{of}");
        let has = |argv: &[Vec<u8>]| argv.iter().any(|item| item.starts_with(of.as_bytes()));
        let execs = session.execs().filter(|(_, exec)| has(&exec.argv));
        execs.map(|(event, _)| event.phase).collect()
    };
    let (setup, logout) = (phases("open_session"), phases("close_session"));
    let summary = session.summary();
    assert!(setup.len() >= OF_HOOK, "{setup:?} {summary:#?}");
    assert!(logout.len() >= OF_HOOK, "{logout:?} {summary:#?}");
    assert_eq!(setup, vec![Phase::LoginSetup; setup.len()], "{summary:#?}");
    assert_eq!(logout, vec![Phase::Logout; logout.len()], "{summary:#?}");
    // A program of the hooks' shell has no marker in its arguments: `setsid`, before it executes the other program.
    for (event, exec) in session.execs() {
        let is_hooks = exec.argv.iter().any(|item| {
            let item = String::from_utf8_lossy(item);
            item.contains(HOOK) && !item.contains("users")
        });
        assert_eq!(event.phase == Phase::User, !is_hooks, "{exec:?}");
    }
    // The end of a process has the same phase as its program.
    for (end, _) in session.exits() {
        let program = session.execs().filter(|(e, _)| e.process == end.process);
        if let Some((begun, _)) = program.last() {
            assert_eq!(end.phase, begun.phase, "{end:?}");
        }
    }
}

/// Returns the commands of the user in order.
fn users(session: &Recorded) -> Vec<String> {
    let execs = session.execs();
    let of_user = execs.filter(|(event, _)| event.phase == Phase::User);
    let line = |argv: &[Vec<u8>]| {
        let items = argv.iter().map(|item| String::from_utf8_lossy(item));
        items.collect::<Vec<_>>().join(" ")
    };
    of_user.map(|(_, exec)| line(&exec.argv)).collect()
}

fn assert_users(session: &Recorded, command: &str) {
    assert_phases(session);
    let users = users(session);
    assert!(
        users.iter().any(|line| line.contains(command)),
        "`{command}` is not the user's: {users:#?}"
    );
}

fn ok(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

#[test]
fn hooks_of_pam_are_apart_in_every_kind_of_login() {
    let Some(lab) = lab() else { return };
    add_hooks(&lab);
    let (user, mut serial) = (lab.user().to_owned(), 0);
    let mut certificate = |principal: &str, options: &[&str]| -> Certificate {
        serial += 1;
        let subject = Subject {
            key_id: &format!("person-{serial}"),
            serial,
            principals: principal,
            options,
        };
        lab.certificate_of(0, subject).unwrap()
    };
    let whole = |who: &Certificate, command: &str| {
        assert_users(&lab.whole_session(who).unwrap(), command);
    };

    let who = certificate(&user, &[]);
    lab.ssh_ok(&who, "/bin/echo users-plain").unwrap();
    whole(&who, "users-plain");
    let who = certificate(&user, &[]);
    assert!(
        lab.ssh_terminal(&who, "sudo -n /bin/echo users-sudo")
            .unwrap()
            .status
            .success()
    );
    whole(&who, "users-sudo");
    let who = certificate(&user, &["force-command=/bin/echo users-forced"]);
    lab.ssh_ok(&who, "/bin/echo wanted").unwrap();
    whole(&who, "users-forced");
    let who = certificate(&user, &[]);
    ok(lab
        .sftp_command(&who)
        .args(["-b", "/dev/null"])
        .arg(lab.remote("")));
    whole(&who, "sftp-server");
    // A program that sshd runs for the user, from a file of the user.
    fs::create_dir(lab.home().join(".ssh")).unwrap();
    fs::write(lab.home().join(".ssh/rc"), "/bin/echo users-rc >&2\n").unwrap();
    let who = certificate(&user, &[]);
    lab.ssh_ok(&who, "/bin/echo users-after-rc").unwrap();
    whole(&who, "users-rc");

    // Root has the same user id as the hooks, so the user id cannot separate them.
    let who = certificate("root", &[]);
    ok(lab.ssh_command(&who, "root").arg("/bin/echo users-root"));
    whole(&who, "users-root");
    let who = certificate("root", &[]);
    ok(lab
        .ssh_command(&who, "root")
        .args(["-tt", "/bin/echo users-root-tty"]));
    whole(&who, "users-root-tty");

    // Several shells over one connection are one session, and each is in the user's phase.
    for principal in [user.as_str(), "root"] {
        let who = certificate(principal, &[]);
        let socket = lab.root().join(format!("mux-{principal}"));
        let ssh = || {
            let mut ssh = lab.ssh_command(&who, principal);
            ssh.arg("-S").arg(&socket);
            ssh
        };
        ok(ssh()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .args(["-MNf"]));
        for nth in ["first", "second", "third"] {
            ok(ssh().arg(format!("/bin/echo users-{nth}-channel")));
        }
        ok(ssh().args(["-O", "exit"]));
        let session = lab.whole_session(&who).unwrap();
        for nth in ["first", "second", "third"] {
            assert_users(&session, &format!("users-{nth}-channel"));
        }
    }
}

#[test]
fn a_login_without_a_program_has_hooks_only() {
    let Some(lab) = Lab::or_skip(&Options {
        sshd: "Match User *\n ForceCommand internal-sftp\n".to_owned(),
        ..Options::default()
    }) else {
        return;
    };
    add_hooks(&lab);
    let user = lab.user().to_owned();
    for (serial, principal) in [(1, user.as_str()), (2, "root")] {
        let subject = Subject {
            key_id: "sftp",
            serial,
            principals: principal,
            options: &[],
        };
        let who = lab.certificate_of(0, subject).unwrap();
        let mut sftp = lab.sftp_command(&who);
        ok(sftp
            .args(["-b", "/dev/null"])
            .arg(format!("{principal}@127.0.0.1:")));
        let session = lab.whole_session(&who).unwrap();
        assert_phases(&session);
        assert_eq!(users(&session), Vec::<String>::new());
    }
}

/// Ways for a user to look like sshd or PAM. `$HOOK` is the marker in the arguments of the hooks' programs.
const DISGUISES: &[&str] = &[
    "bash -c 'exec -a \"sshd: root [priv]\" /bin/echo $HOOK named'",
    "cp /bin/echo sshd; ./sshd $HOOK as-sshd",
    "cp /bin/bash sshd-session; ./sshd-session -c '/bin/echo $HOOK below-sshd; exit 0'",
    "sudo -n /bin/echo $HOOK by-sudo",
    "sudo -n env PAM_TYPE=open_session sh -c '/bin/echo $HOOK in-its-environment; exit 0'",
    "sudo -n setpriv --clear-groups /bin/echo $HOOK without-groups",
    "sudo -n setpriv --reuid 0 --regid 0 --init-groups /bin/echo $HOOK of-root",
    "sudo -n setsid --wait /bin/echo $HOOK apart",
    "sudo -n sh -c 'cd /; exec /bin/echo $HOOK in-the-root < /dev/null'",
    "sudo -n sh -c 'echo 0 > /proc/self/loginuid; exec /bin/echo $HOOK of-roots-login'",
];

#[test]
fn work_disguised_as_login_setup_is_the_users() {
    let Some(lab) = lab() else { return };
    add_hooks(&lab);
    let who = lab.certificate("mallory", 1).unwrap();
    let lines = DISGUISES.join("\n").replace("$HOOK", "users-disguise");
    // The process outlives its sshd, and runs while PAM closes the session and after that.
    let late = "setsid sh -c 'kill -9 $(cut -d\" \" -f4 /proc/'$$'/stat); /bin/echo users-disguise orphan; \
                while [ ! -e over ]; do sleep 0.05; done; /bin/echo users-disguise after-logout; touch done' \
                > /dev/null 2>&1 < /dev/null &\n\
                while [ ! -e over ]; do sleep 0.05; done";
    let login = lab.ssh_start(&who, format!("{lines}\n{late}")).unwrap();
    login.wait_with_output().unwrap();
    let logout = || {
        let sessions = lab.sessions_of(&who).unwrap();
        sessions[0].count(&format!("{HOOK}close_session apart")) > 0
    };
    await_that("the logout hook has run", logout);
    touch(&lab.home().join("over"));
    await_file(&lab.home().join("done"));
    let session = lab.whole_session(&who).unwrap();
    assert_phases(&session);
    let of_user = users(&session);
    let ways = of_user.iter().filter(|line| {
        line.contains("echo users-disguise ") && !line.contains(" -c ") && !line.contains("sudo")
    });
    let named = of_user
        .iter()
        .filter(|line| line.starts_with("sshd: root [priv] users-disguise"));
    let as_sshd = of_user
        .iter()
        .filter(|line| line.starts_with("./sshd users-disguise"));
    // Both commands must be recorded, because a load that did nothing would otherwise pass.
    let count = ways.count() + named.count() + as_sshd.count();
    assert!(count >= DISGUISES.len() + 2, "{of_user:#?}");
}

#[test]
fn a_hook_that_runs_with_the_users_id_runs_the_users_work() {
    let Some(lab) = lab() else { return };
    let file = lab.home().join("on-login");
    fs::write(&file, "#!/bin/sh\n/bin/echo users-own\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    let hook = lab.root().join("hook");
    let script = format!(
        "#!/bin/sh\n/bin/echo {HOOK}before\nrunuser -u $PAM_USER -- {file}\n/bin/echo {HOOK}behind\n",
        file = file.display()
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, Permissions::from_mode(0o700)).unwrap();
    let lines = format!(
        "{}session optional pam_exec.so quiet type=open_session {}\n",
        lab.pam_line(),
        hook.display()
    );
    lab.set_pam_lines(&lines).unwrap();
    let who = lab.certificate("alice", 1).unwrap();
    lab.ssh_ok(&who, "true").unwrap();
    let session = lab.whole_session(&who).unwrap();
    let phase = |word: &str| {
        let has = |argv: &[Vec<u8>]| argv.iter().any(|item| item == word.as_bytes());
        session
            .execs()
            .find(|(_, exec)| has(&exec.argv))
            .unwrap()
            .0
            .phase
    };
    assert_eq!(phase("users-own"), Phase::User, "{:#?}", session.summary());
    assert_eq!(phase(&format!("{HOOK}before")), Phase::LoginSetup);
    assert_eq!(phase(&format!("{HOOK}behind")), Phase::LoginSetup);
}

#[test]
fn phases_outlast_the_agent_that_began_the_session() {
    let Some(mut lab) = lab() else { return };
    add_hooks(&lab);
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let login = stage.start(
        &lab,
        &who,
        "touch inside; while [ ! -e go ]; do sleep 0.05; done; /bin/echo users-away; \
         while [ ! -e leave ]; do sleep 0.05; done; /bin/echo users-back",
    );
    await_file(&lab.home().join("inside"));
    lab.agent.kill().unwrap();
    touch(&lab.home().join("go"));
    lab.agent.start().unwrap();
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.whole_session(&who).unwrap();
    assert_users(&session, "users-away");
    assert_users(&session, "users-back");
}

#[test]
fn a_late_stamp_takes_what_runs_already_for_the_users() {
    let Some(mut lab) = Lab::or_skip(&Options {
        agent_waits: true,
        ..Options::default()
    }) else {
        return;
    };
    add_hooks(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let work = "touch inside; while [ ! -e leave ]; do sleep 0.05; done; /bin/echo users-late";
    let login = lab.ssh_start(&who, work).unwrap();
    await_file(&lab.home().join("inside"));
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    assert_eq!(session.session.opened.stamp, Stamp::Late);
    assert!(
        users(&session)
            .iter()
            .any(|line| line.contains("users-late"))
    );
    let logout = session
        .execs()
        .filter(|(event, _)| event.phase == Phase::Logout);
    assert!(logout.count() >= OF_HOOK, "{:#?}", session.summary());
    let setup = session
        .execs()
        .filter(|(event, _)| event.phase == Phase::LoginSetup);
    assert_eq!(setup.count(), 0, "{:#?}", session.summary());
}
