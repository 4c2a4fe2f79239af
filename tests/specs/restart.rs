//! Programs that run while the agent does not run are recorded too.

use std::fs;

use vctl_common::session::GapCause;
use vctl_tests::lab::{Lab, Options};

use vctl_tests::fixture::{
    Stage, assert_each_is_where_it_belongs, await_file, await_that, exec_of, lab, touch,
};

#[test]
fn kill_9_in_the_middle_of_work_loses_and_doubles_nothing() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let people =
        [("alice", 1), ("bob", 2)].map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let body = "touch inside-$VCTL_CASE; while [ ! -e enough ]; do $T; done";
    let logins = people.each_ref().map(|who| stage.start(&lab, who, body));
    for who in &people {
        // A login that waits while the agent dies is the subject of the specs of `stamp`.
        await_file(&lab.home().join(format!("inside-{}", who.key_id)));
    }
    let work_goes_on = |runs| {
        let before = stage.told();
        await_that("work goes on", || stage.told() > before + runs);
    };
    for _ in 0..4 {
        work_goes_on(60);
        lab.agent.kill().unwrap();
        work_goes_on(30);
        lab.agent.start().unwrap();
    }
    touch(&lab.home().join("enough"));
    for login in logins {
        assert!(login.wait_with_output().unwrap().status.success());
    }
    let sessions = people
        .each_ref()
        .map(|who| (who.key_id.as_str(), vec![lab.whole_session(who).unwrap()]));
    let truths = stage.running();
    for (key_id, recorded) in &sessions {
        let told = truths.iter().filter(|truth| truth.case == *key_id).count();
        assert_eq!(recorded[0].runs_of("exec-target").count(), told);
    }
    assert_each_is_where_it_belongs(&truths, &sessions);
}

#[test]
fn a_session_that_ends_without_the_agent_is_complete() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let login = stage.start(
        &lab,
        &who,
        "touch inside; while [ ! -e go ]; do sleep 0.1; done; for i in $(seq 50); do $T; done",
    );
    await_file(&lab.home().join("inside"));
    lab.agent.kill().unwrap();
    touch(&lab.home().join("go"));
    assert!(login.wait_with_output().unwrap().status.success());
    lab.agent.start().unwrap();
    let session = lab.whole_session(&who).unwrap();
    // The time of the end itself, not the time at which the agent noticed the end.
    let closed = session.session.closed.as_ref().unwrap();
    assert_eq!(closed.at, session.events.last().unwrap().at);
    let truths = stage.running();
    assert_eq!(truths.len(), 50);
    assert_each_is_where_it_belongs(&truths, &[("alice", vec![session])]);
}

#[test]
fn sessions_of_a_lost_spool_keep_all_events_of_the_ring() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let people =
        [("alice", 1), ("bob", 2)].map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let body = "touch inside-$VCTL_CASE; while [ ! -e go ]; do sleep 0.1; done; \
                for i in $(seq 50); do $T; done";
    let logins = people.each_ref().map(|who| stage.start(&lab, who, body));
    for who in &people {
        await_file(&lab.home().join(format!("inside-{}", who.key_id)));
    }
    // Otherwise the ring still has all events, and the spool loses none.
    await_that("both sessions have events in the spool", || {
        let stored = lab.sessions().unwrap();
        stored.len() == 2 && stored.iter().all(|one| !one.events.is_empty())
    });
    lab.agent.kill().unwrap();
    for file in fs::read_dir(lab.spool()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    // Both work at the same time, so the first batch has events of one session before the other is known.
    touch(&lab.home().join("go"));
    for login in logins {
        assert!(login.wait_with_output().unwrap().status.success());
    }
    lab.agent.start().unwrap();
    let mut sessions = Vec::new();
    await_that("both sessions are closed", || {
        sessions = lab.sessions().unwrap();
        sessions.len() == 2 && sessions.iter().all(|one| one.session.closed.is_some())
    });
    let truths = stage.running();
    assert_eq!(truths.len(), 100);
    for truth in &truths {
        let shown = sessions
            .iter()
            .filter(|session| exec_of(session, truth).is_some());
        assert_eq!(shown.count(), 1, "{truth:?}");
    }
    for session in &sessions {
        let gaps = &session.session.gaps;
        let lost: u64 = gaps.iter().filter_map(|gap| gap.events).sum();
        assert!(gaps.iter().all(|gap| gap.cause == GapCause::SpoolDamaged));
        assert!(lost > 0, "no event was in the old spool: {gaps:?}");
        let closed = session.session.closed.as_ref().unwrap();
        let stored = session.events.len() as u64;
        assert_eq!(
            closed.produced,
            Some(stored + lost),
            "{:#?}",
            session.summary()
        );
    }
}

#[test]
fn a_second_agent_on_the_same_pins_is_refused() {
    let Some(lab) = lab() else { return };
    let pins = lab.pins();
    let mut second = lab.another_agent("second", Some(&pins)).unwrap();
    let refusal = second.start().unwrap_err().to_string();
    assert!(refusal.contains(&pins.display().to_string()), "{refusal}");
    let who = lab.certificate("alice", 1).unwrap();
    lab.ssh_ok(&who, "true").unwrap();
    lab.whole_session(&who).unwrap();
}

#[test]
fn detach_leaves_nothing_pinned_and_logins_go_on() {
    let Some(mut lab) = lab() else { return };
    let pins = lab.pins();
    assert!(pins.exists());
    lab.agent.stop().unwrap();
    assert!(
        pins.exists(),
        "a stopped agent leaves its pins for the next"
    );
    let output = lab.agent.run("detach", &[]).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!pins.exists());
    let who = lab.certificate("alice", 1).unwrap();
    lab.ssh_ok(&who, "true").unwrap();
}

#[test]
fn a_forced_loss_is_reported_to_the_event() {
    let options = Options {
        agent: vec![("ring_size", "64KiB".to_owned())],
        ..Options::default()
    };
    let Some(lab) = Lab::or_skip(&options) else {
        return;
    };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let login = stage.start(
        &lab,
        &who,
        "touch inside; while [ ! -e go ]; do sleep 0.1; done; for i in $(seq 300); do $T; done; \
         touch done; while [ ! -e leave ]; do sleep 0.1; done",
    );
    await_file(&lab.home().join("inside"));
    lab.agent.signal(nix::sys::signal::Signal::SIGSTOP).unwrap();
    touch(&lab.home().join("go"));
    await_file(&lab.home().join("done"));
    lab.agent.signal(nix::sys::signal::Signal::SIGCONT).unwrap();
    await_that("the ring has room again", || {
        let sessions = lab.sessions_of(&who).unwrap();
        sessions[0].count("exec-target") > 0
    });
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    let closed = session.session.closed.as_ref().unwrap();
    let lost: u64 = session
        .session
        .gaps
        .iter()
        .filter_map(|gap| gap.events)
        .sum();
    assert!(lost > 0, "nothing was lost: the spec proves nothing");
    assert_eq!(closed.produced, Some(session.events.len() as u64 + lost));
    // Each run of the program is an exec and an exit, and each is either stored or counted as lost.
    let stored = session.count("exec-target") as u64;
    assert!(
        stored < 300 && 300 - stored <= lost,
        "{stored} stored, {lost} lost"
    );
}
