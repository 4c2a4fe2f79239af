//! Sessions that are recorded from some time on: before it is a gap, and after it nothing is missing.

use std::fs;
use std::process::Child;

use vctl_agent::probe::Maps;
use vctl_common::session::{CloseReason, GapCause, Stamp};
use vctl_common::time::BootNs;
use vctl_tests::lab::{Certificate, Lab, Recorded, process};
use vctl_tests::truth::Running;

use vctl_tests::fixture::{Stage, await_file, await_that, exec_of, lab, touch};

/// Background work that the login's own process does not wait for.
const BACKGROUND: &str = "setsid sh -c \"while [ ! -e go ]; do sleep 0.1; done; $T background\" \
    < /dev/null > /dev/null 2>&1 &";

#[test]
fn background_work_of_an_ended_late_login_is_recorded() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    stage.run(&lab, &who, BACKGROUND);
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    touch(&lab.home().join("go"));
    await_that("the work is done", || !stage.running().is_empty());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    is_recorded_late(&session, &stage.running()[0], GapCause::StampedLate);
}

#[test]
fn background_work_of_an_ended_login_without_hook_is_recorded() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.set_pam_lines("").unwrap();
    lab.agent.kill().unwrap();
    stage.run(&lab, &who, BACKGROUND);
    lab.agent.start().unwrap();
    // The second gap comes after the marks.
    await_that("the login is recorded, or over", || {
        without_stamp(&lab).is_some_and(|session| {
            session.session.gaps.len() > 1 || session.session.closed.is_some()
        })
    });
    touch(&lab.home().join("go"));
    await_that("the work is done", || !stage.running().is_empty());
    await_that("the session has ended", || {
        without_stamp(&lab).unwrap().session.closed.is_some()
    });
    let session = without_stamp(&lab).unwrap();
    is_recorded_late(&session, &stage.running()[0], GapCause::LoginWithoutStamp);
}

fn is_recorded_late(session: &Recorded, truth: &Running, cause: GapCause) {
    let summary = session.summary();
    assert!(exec_of(session, truth).is_some(), "{summary:#?}");
    assert_eq!(session.session.opened.stamp, Stamp::Late, "{summary:#?}");
    let closed = session.session.closed.as_ref().unwrap();
    assert_eq!(closed.reason, CloseReason::LastProcessEnded, "{summary:#?}");
    let gaps = &session.session.gaps;
    assert!(gaps.iter().all(|gap| gap.cause == cause), "{summary:#?}");
    assert!(!gaps.is_empty(), "{summary:#?}");
}

#[test]
fn a_zombie_of_a_late_login_has_no_mark_and_makes_no_gap() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    let body = "cat > hold.pl <<'END'\n\
        my $child = fork // die; exit if !$child;\n\
        open my $file, '>', 'new'; print $file $child; close $file; rename 'new', 'zombie';\n\
        select undef, undef, undef, 0.1 while !-e 'leave';\n\
        END\n\
        perl hold.pl; true";
    let login = stage.start(&lab, &who, body);
    await_file(&lab.home().join("zombie"));
    let zombie = fs::read_to_string(lab.home().join("zombie")).unwrap();
    let zombie: u32 = zombie.parse().unwrap();
    await_that("the child has ended", || {
        process::state(zombie) == Some('Z')
    });
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    let gaps = || {
        let session = lab.sessions_of(&who).unwrap().remove(0).session;
        let gaps = session.gaps.into_iter();
        gaps.filter(|gap| gap.cause == GapCause::StampedLate)
            .count()
    };
    let maps = Maps::pinned(&lab.pins()).unwrap();
    assert!(maps.task(zombie).is_none());
    let before = gaps();
    assert!(before > 0);
    lab.agent.kill().unwrap();
    lab.agent.start().unwrap();
    assert_eq!(process::state(zombie), Some('Z'));
    assert!(maps.task(zombie).is_none());
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    let gaps = session.session.gaps.iter();
    let gaps = gaps.filter(|gap| gap.cause == GapCause::StampedLate);
    assert_eq!(gaps.count(), before, "{:#?}", session.summary());
}

/// Runs programs all the time. What is not recorded is in a gap of the session.
#[test]
fn a_late_login_lacks_only_what_its_gap_covers() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    let login = busy(&lab, &stage, &who);
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    ends(&lab, &stage, login);
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    lacks_only_what_a_gap_covers(&session, &stage.running());
}

#[test]
fn a_login_without_hook_lacks_only_what_its_gap_covers() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.set_pam_lines("").unwrap();
    let login = busy(&lab, &stage, &who);
    await_that("the login is recorded", || {
        without_stamp(&lab).is_some_and(|session| !session.events.is_empty())
    });
    ends(&lab, &stage, login);
    await_that("the session has ended", || {
        without_stamp(&lab).unwrap().session.closed.is_some()
    });
    lacks_only_what_a_gap_covers(&without_stamp(&lab).unwrap(), &stage.running());
}

#[test]
fn a_session_without_probe_lacks_only_what_its_gap_covers() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let login = busy(&lab, &stage, &who);
    lab.agent.stop().unwrap();
    let output = lab.agent.run("detach", &[]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let before = stage.told();
    await_that("programs run without a probe", || {
        stage.told() > before + 10
    });
    lab.agent.start().unwrap();
    ends(&lab, &stage, login);
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    lacks_only_what_a_gap_covers(&session, &stage.running());
}

/// Starts a login that runs programs until the file `leave` exists.
fn busy(lab: &Lab, stage: &Stage, who: &Certificate) -> Child {
    let body = "touch inside; while [ ! -e leave ]; do $T; done";
    let login = stage.start(lab, who, body);
    await_file(&lab.home().join("inside"));
    login
}

fn ends(lab: &Lab, stage: &Stage, login: Child) {
    let before = stage.told();
    await_that("programs run", || stage.told() > before + 10);
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
}

fn lacks_only_what_a_gap_covers(session: &Recorded, truths: &[Running]) {
    const NS_PER_TICK: u64 = 10_000_000;
    let lacking = truths
        .iter()
        .filter(|truth| exec_of(session, truth).is_none());
    let mut lacking: Vec<u64> = lacking.map(|truth| truth.start).collect();
    lacking.sort_unstable();
    assert!(
        !lacking.is_empty() && lacking.len() < truths.len(),
        "{} of {}: the spec proves nothing",
        lacking.len(),
        truths.len()
    );
    for start in lacking {
        // Within this tick.
        let first = BootNs(start * NS_PER_TICK);
        let last = BootNs((start + 1) * NS_PER_TICK);
        let gaps = &session.session.gaps;
        assert!(
            gaps.iter().any(|gap| gap.from <= last && first <= gap.to),
            "a program of {first:?} is in no gap: {gaps:#?}"
        );
    }
}

fn without_stamp(lab: &Lab) -> Option<Recorded> {
    let sessions = lab.sessions().unwrap();
    sessions.into_iter().find(|one| {
        let mut gaps = one.session.gaps.iter();
        gaps.any(|gap| gap.cause == GapCause::LoginWithoutStamp)
    })
}
