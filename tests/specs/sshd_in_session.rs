//! An sshd that was started inside a login: it has that login's audit session, and in a session it passes the mark to
//! each login through it.

use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::User;
use vctl_common::session::{GapCause, Stamp};
use vctl_common::time::BootNs;
use vctl_tests::centre::free_port;
use vctl_tests::lab::{Certificate, Lab, Options, Recorded};

use vctl_tests::fixture::{
    Stage, assert_each_is_where_it_belongs, await_file, await_that, exec_of, lab, touch,
};

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
        let script = stage.script(name, &body);
        let mut login = start_at(lab, other_user(lab), who, port, &script);
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

/// These logins have the audit session of the login that started the sshd, and the mark of its session.
#[test]
fn logins_to_the_account_of_a_session_are_their_own() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let [alice, bob, carol, dave] = [("alice", 1), ("bob", 2), ("carol", 3), ("dave", 4)]
        .map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let port = free_port().unwrap();
    let sshd = format!(
        "sudo -n {} -D -e -f {} -o ListenAddress=127.0.0.1:{port} -o PidFile=$HOME/pid > log 2>&1 &\n\
         while [ ! -e go-alice ]; do sleep 0.1; done; $T; \
         while [ ! -e leave ]; do sleep 0.1; done; sudo -n kill $(cat pid)",
        lab.root().join(lab.service()).display(),
        lab.root().join("sshd_config").display()
    );
    let of_alice = stage.start(&lab, &alice, &sshd);
    await_that("the second sshd listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let waits = |lab: &Lab, who: &Certificate| {
        let name = &who.key_id;
        let body = format!(
            "touch in-{name}; while [ ! -e go-{name} ]; do sleep 0.1; done; $T; touch ran-{name}; \
             while [ ! -e leave ]; do sleep 0.1; done"
        );
        let login = start_at(lab, lab.user(), who, port, &stage.script(name, &body));
        await_file(&lab.home().join(format!("in-{name}")));
        login
    };
    // In time, and then found by an agent with a new probe, in any order.
    let mut logins = vec![waits(&lab, &bob), waits(&lab, &carol)];
    lab.agent.stop().unwrap();
    assert!(lab.agent.run("detach", &[]).unwrap().status.success());
    lab.agent.start().unwrap();
    // Stamped late.
    lab.agent.kill().unwrap();
    logins.push(waits(&lab, &dave));
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    for who in [&alice, &bob, &carol, &dave] {
        touch(&lab.home().join(format!("go-{}", who.key_id)));
    }
    for who in [&bob, &carol, &dave] {
        await_file(&lab.home().join(format!("ran-{}", who.key_id)));
        let session = lab.sessions_of(who).unwrap().remove(0);
        assert!(session.session.closed.is_none(), "{:#?}", session.summary());
    }
    touch(&lab.home().join("leave"));
    logins.push(of_alice);
    for login in logins {
        login.wait_with_output().unwrap();
    }
    let truths = stage.running();
    assert_eq!(truths.len(), 4, "{truths:?}");
    let sessions = [&alice, &bob, &carol, &dave].map(|who| {
        let sessions = lab.closed_sessions(who, 1).unwrap();
        (who.key_id.as_str(), sessions)
    });
    assert_each_is_where_it_belongs(&truths, &sessions);
}

/// The sshd has the audit session of a login that began before the probe, so no session has it.
#[test]
fn an_sshd_from_before_the_probe_mixes_no_logins() {
    let options = Options {
        // The process above the sshd is init, whatever its name.
        agent: vec![("sshd_names", "[]".to_owned())],
        ..Options::default()
    };
    let Some(mut lab) = Lab::or_skip(&options) else {
        return;
    };
    let stage = Stage::set(&lab);
    let [alice, bob, carol, dave] = [("alice", 1), ("bob", 2), ("carol", 3), ("dave", 4)]
        .map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let (port, sshd) = start_with_login_uid(&lab);
    let inside = |lab: &Lab, who: &Certificate, port: u16| {
        let name = &who.key_id;
        let body =
            format!("touch in-{name}; while [ ! -e go-{name} ]; do sleep 0.1; done; $T; true");
        let login = start_at(lab, lab.user(), who, port, &stage.script(name, &body));
        await_file(&lab.home().join(format!("in-{name}")));
        login
    };
    let goes_on = |lab: &Lab, who: &Certificate, login: Child| {
        touch(&lab.home().join(format!("go-{}", who.key_id)));
        let output = login.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    // Without a hook: one through the sshd, and then a usual one, which the agent knows later.
    lab.set_pam_lines("").unwrap();
    let of_alice = inside(&lab, &alice, port);
    let before_bob = boot_now();
    let of_bob = inside(&lab, &bob, lab.port());
    let without_hook = || {
        let mut sessions = lab.sessions().unwrap().into_iter();
        sessions.find(|one| {
            let opened = &one.session.opened;
            opened.service == lab.service() && opened.opened_at > before_bob
        })
    };
    await_that("the usual login without a stamp is known", || {
        without_hook().is_some()
    });
    let known_bob = without_hook().unwrap().session.opened.id;
    goes_on(&lab, &alice, of_alice);
    goes_on(&lab, &bob, of_bob);
    // Two logins that are stamped late.
    lab.set_pam_lines(&lab.pam_line()).unwrap();
    for who in [&carol, &dave] {
        lab.agent.kill().unwrap();
        let login = inside(&lab, who, port);
        lab.agent.start().unwrap();
        await_that("the agent has read the marker", || {
            lab.markers().unwrap() == 0
        });
        goes_on(&lab, who, login);
    }
    let known = [&carol, &dave].map(|who| lab.closed_sessions(who, 1).unwrap().remove(0));
    let sessions = lab.sessions().unwrap();
    for session in &sessions {
        let leader = session.session.opened.leader.tgid;
        assert_ne!(leader, sshd, "{:#?}", session.summary());
    }
    let truths = stage.running();
    assert_eq!(truths.len(), 4, "{truths:?}");
    for truth in &truths {
        let holders = sessions.iter().filter(|one| exec_of(one, truth).is_some());
        let holders: Vec<_> = holders.map(|one| one.session.opened.id).collect();
        let wanted = match truth.case.as_str() {
            "bob" => known_bob,
            "carol" => known[0].session.opened.id,
            "dave" => known[1].session.opened.id,
            // The probe does not see this login: its sshd has the audit session before.
            _ => {
                assert!(holders.is_empty(), "{truth:?} is in {holders:?}");
                continue;
            }
        };
        assert_eq!(holders, [wanted], "{truth:?}");
    }
}

/// Starts an sshd as `service ssh restart` does in a login as root: it has login uid and audit session of that login.
/// Returns its port and pid. The lab ends it with its own sshd.
fn start_with_login_uid(lab: &Lab) -> (u16, u32) {
    let port = free_port().unwrap();
    let pid_file = lab.root().join("second.pid");
    let uid = User::from_name(lab.user()).unwrap().unwrap().uid;
    let script = format!(
        "echo {uid} > /proc/self/loginuid && {} -f {} -o ListenAddress=127.0.0.1:{port} -o PidFile={}; exit $?",
        lab.root().join(lab.service()).display(),
        lab.root().join("sshd_config").display(),
        pid_file.display()
    );
    // The sshd has a parent in its audit session, as in a login.
    let status = Command::new("sh").arg("-c").arg(script).status().unwrap();
    assert!(status.success());
    await_that("the second sshd listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    let pid = std::fs::read_to_string(pid_file).unwrap();
    (port, pid.trim().parse().unwrap())
}

fn without_stamp(lab: &Lab) -> Option<Recorded> {
    let sessions = lab.sessions().unwrap();
    sessions.into_iter().find(|one| {
        let gaps = &one.session.gaps;
        gaps.iter()
            .any(|gap| gap.cause == GapCause::LoginWithoutStamp)
    })
}

fn boot_now() -> BootNs {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    BootNs(u64::try_from(Duration::from(now).as_nanos()).unwrap())
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
fn start_at(lab: &Lab, user: &str, who: &Certificate, port: u16, script: &str) -> Child {
    let usual = lab.ssh_command(who, user);
    let mut command = Command::new(usual.get_program());
    command.arg("-o");
    command.arg(format!("HostKeyAlias=[127.0.0.1]:{}", lab.port()));
    command.args(["-p", &port.to_string()]);
    command.args(usual.get_args()).arg(script);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}
