//! An agent that does not answer: the mode decides whether users can log in, and a login never waits long.

use std::time::Instant;

use nix::sys::signal::Signal;
use vctl_common::session::{GapCause, Stamp};
use vctl_tests::lab::{Lab, Options};

use vctl_tests::fixture::{NEVER_HUNG, Stage, await_file, await_that, exec_of, lab, touch};

#[test]
fn best_effort_accepts_logins_and_marks_them_late() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.signal(Signal::SIGSTOP).unwrap();
    let asked = Instant::now();
    let login = stage.start(
        &lab,
        &who,
        "touch inside; while [ ! -e go ]; do sleep 0.1; done; $T after",
    );
    await_file(&lab.home().join("inside"));
    assert!(asked.elapsed() < NEVER_HUNG, "{:?}", asked.elapsed());
    lab.agent.signal(Signal::SIGCONT).unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    touch(&lab.home().join("go"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    assert_eq!(session.session.opened.stamp, Stamp::Late);
    assert!(
        session
            .session
            .gaps
            .iter()
            .any(|gap| gap.cause == GapCause::StampedLate),
        "{:?}",
        session.session.gaps
    );
    assert!(
        exec_of(&session, &stage.running()[0]).is_some(),
        "{:#?}",
        session.summary()
    );
    let output = lab.vctl(&["session", "--local", "1"]).unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("late") && !shown.contains("complete"),
        "{shown}"
    );
}

#[test]
fn a_login_that_ended_unseen_is_still_known() {
    let Some(mut lab) = lab() else { return };
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    lab.ssh_ok(&who, "true").unwrap();
    lab.agent.start().unwrap();
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    assert!(
        matches!(session.session.opened.stamp, Stamp::Missed | Stamp::Late),
        "{:?}",
        session.session.opened
    );
}

#[test]
fn strict_refuses_logins_while_the_agent_is_away() {
    let options = Options {
        agent: vec![("mode", "strict".to_owned())],
        ..Options::default()
    };
    let Some(mut lab) = Lab::or_skip(&options) else {
        return;
    };
    let who = lab.certificate("alice", 1).unwrap();
    lab.ssh_ok(&who, "true").unwrap();
    lab.agent.kill().unwrap();
    let asked = Instant::now();
    let output = lab.ssh(&who, "touch got-in").unwrap();
    assert!(
        !output.status.success() && asked.elapsed() < NEVER_HUNG,
        "{output:?}"
    );
    assert!(!lab.home().join("got-in").exists());
    lab.agent.start().unwrap();
    lab.ssh_ok(&who, "true").unwrap();
}

#[test]
fn strict_accepts_and_records_the_break_glass_group() {
    let options = Options {
        agent: vec![("mode", "strict".to_owned())],
        more_users: 1,
        break_glass: true,
        ..Options::default()
    };
    let Some(mut lab) = Lab::or_skip(&options) else {
        return;
    };
    let who = lab.certificate("firefighter", 1).unwrap();
    lab.agent.kill().unwrap();
    let users = lab.users().to_vec();
    let login = |user: &str| {
        lab.ssh_command(&who, user)
            .arg("true")
            .status()
            .unwrap()
            .success()
    };
    assert_eq!((login(&users[0]), login(&users[1])), (false, true));
    lab.agent.start().unwrap();
    let sessions = lab.closed_sessions(&who, 1).unwrap();
    assert_eq!(sessions[0].session.opened.login_user, users[1]);
    assert!(matches!(
        sessions[0].session.opened.stamp,
        Stamp::BreakGlass | Stamp::Missed
    ));
}

#[test]
fn a_full_disk_delays_no_login() {
    let options = Options {
        spool_bytes: Some(64 << 20),
        ..Options::default()
    };
    let Some(lab) = Lab::or_skip(&options) else {
        return;
    };
    let stage = Stage::set(&lab);
    let (early, during) = (
        lab.certificate("early", 1).unwrap(),
        lab.certificate("during", 2).unwrap(),
    );
    let login = stage.start(&lab, &early, "touch inside; while [ ! -e full ]; do sleep 0.1; done; for i in $(seq 50); do $T; done; touch done");
    await_file(&lab.home().join("inside"));
    let filler = lab.spool().join("filler");
    fill(&filler);
    touch(&lab.home().join("full"));
    await_file(&lab.home().join("done"));
    let asked = Instant::now();
    lab.ssh_ok(&during, "true").unwrap();
    assert!(asked.elapsed() < NEVER_HUNG, "{:?}", asked.elapsed());
    std::fs::remove_file(filler).unwrap();
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.whole_session(&early).unwrap();
    assert_eq!(
        stage
            .running()
            .iter()
            .filter(|truth| exec_of(&session, truth).is_some())
            .count(),
        50
    );
}

fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let block = vec![0; 4096];
    while file.write_all(&block).is_ok() {}
}

#[test]
fn a_step_of_the_wall_clock_changes_no_duration_and_no_order() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let asked = Instant::now();
    let login = stage.start(
        &lab,
        &who,
        "for i in 1 2 3 4 5 6 7 8 9; do $T $i; while [ ! -e go-$((i / 3)) ]; do sleep 0.1; done; done",
    );
    // After the third, the sixth and the ninth run the script waits.
    touch(&lab.home().join("go-0"));
    for (after, seconds) in [(3, 3600), (6, -7200), (9, 3600)] {
        await_that("the session waits", || stage.told() == after);
        lab.step_clock(seconds).unwrap();
        touch(&lab.home().join(format!("go-{}", after / 3)));
    }
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.whole_session(&who).unwrap();
    let order: Vec<_> = session
        .runs_of("exec-target")
        .map(|exec| exec.argv[1].clone())
        .collect();
    assert_eq!(
        order,
        [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"]
    );
    let closed = session.session.closed.as_ref().unwrap();
    let length = closed.at.since(session.session.opened.opened_at);
    assert!(
        !length.is_zero() && length <= asked.elapsed(),
        "{length:?} of {:?}",
        asked.elapsed()
    );
}
