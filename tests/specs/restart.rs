//! What runs while the agent does not is recorded all the same.

use std::time::Duration;

use vctl_tests::lab::{Lab, Options};

use crate::fixture::{Stage, assert_each_is_where_it_belongs, await_file, lab};

#[test]
fn kill_9_in_the_middle_of_work_loses_and_doubles_nothing() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let people =
        [("alice", 1), ("bob", 2)].map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let body = "for i in $(seq 400); do $T $i; done";
    let logins = people.each_ref().map(|who| stage.start(&lab, who, body));
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(300));
        lab.agent.kill().unwrap();
        std::thread::sleep(Duration::from_millis(150));
        lab.agent.start().unwrap();
    }
    for login in logins {
        assert!(login.wait_with_output().unwrap().status.success());
    }
    let sessions = people
        .each_ref()
        .map(|who| (who.key_id.as_str(), vec![lab.whole_session(who).unwrap()]));
    let truths = stage.running();
    assert_eq!(truths.len(), 800);
    assert_each_is_where_it_belongs(&truths, &sessions);
}

#[test]
fn a_session_that_ends_while_the_agent_is_away_is_closed_and_whole() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let login = stage.start(
        &lab,
        &who,
        "touch inside; sleep 0.5; for i in $(seq 50); do $T; done",
    );
    await_file(&lab.home().join("inside"));
    lab.agent.kill().unwrap();
    assert!(login.wait_with_output().unwrap().status.success());
    lab.agent.start().unwrap();
    let session = lab.whole_session(&who).unwrap();
    // When it ended, not when somebody noticed.
    let closed = session.session.closed.as_ref().unwrap();
    assert_eq!(closed.at, session.events.last().unwrap().at);
    let truths = stage.running();
    assert_eq!(truths.len(), 50);
    assert_each_is_where_it_belongs(&truths, &[("alice", vec![session])]);
}

#[test]
fn a_second_agent_on_the_same_pins_is_refused_and_the_first_goes_on() {
    let Some(lab) = lab() else { return };
    let pins = std::path::Path::new("/sys/fs/bpf").join(lab.id());
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
    let pins = std::path::Path::new("/sys/fs/bpf").join(lab.id());
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
        "touch inside; sleep 0.5; for i in $(seq 300); do $T; done; touch done; sleep 1",
    );
    await_file(&lab.home().join("inside"));
    lab.agent.signal(nix::sys::signal::Signal::SIGSTOP).unwrap();
    await_file(&lab.home().join("done"));
    lab.agent.signal(nix::sys::signal::Signal::SIGCONT).unwrap();
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
    // Each run of the program is an exec and an end: stored, or counted as lost.
    let stored = session.count("exec-target") as u64;
    assert!(
        stored < 300 && 300 - stored <= lost,
        "{stored} stored, {lost} lost"
    );
}
