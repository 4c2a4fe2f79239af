//! The audit sessions of late logins, whose processes the probe marks by itself.

use aya::maps::{HashMap, Map, MapData};
use nix::sys::stat::Mode;
use nix::unistd::{User, mkfifo};
use vctl_agent::probe::Maps;
use vctl_agent::probe::maps::LATE_MARKS;
use vctl_agent::session::boot_now;
use vctl_common::id::AuditSessionId;
use vctl_common::session::{GapCause, SessionOpened};
use vctl_common::status;
use vctl_common::wire::{Mark, SessionCounters};
use vctl_tests::lab::{Certificate, Lab, Recorded};

use vctl_tests::fixture::{
    FREE_PIDS, Stage, UNUSED_MARK, await_file, await_that, exec_of, lab, touch,
};

/// Audit sessions that no login of this host has.
const UNUSED: u32 = 4_000_000_000;
/// Marks of no session.
const EARLIER: Mark = 2;
const LATER: Mark = 3;

#[test]
fn an_open_session_keeps_its_audit_session() {
    let Some(lab) = lab() else { return };
    let mut maps = Maps::pinned(&lab.pins()).unwrap();
    let id = AuditSessionId::new(UNUSED).unwrap();
    maps.note_late(id, EARLIER).unwrap();
    maps.open_session(EARLIER, SessionCounters::default())
        .unwrap();
    maps.note_late(id, LATER).unwrap();
    assert_eq!(late_mark(&lab, id), Some(EARLIER));
    maps.forget_late(id, LATER);
    assert_eq!(late_mark(&lab, id), Some(EARLIER));
    maps.close_session(EARLIER);
    maps.note_late(id, LATER).unwrap();
    assert_eq!(late_mark(&lab, id), Some(LATER));
    maps.forget_late(id, LATER);
    assert_eq!(late_mark(&lab, id), None);
}

#[test]
fn an_audit_session_goes_with_its_late_session() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    let login = stage.start(&lab, &who, WAITS);
    await_file(&lab.home().join("inside"));
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    let opened = the_one(&lab, &who);
    let id = opened.audit_session.unwrap();
    assert_eq!(late_mark(&lab, id), Some(opened.id.mark()));
    touch(&lab.home().join("go"));
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    lab.closed_sessions(&who, 1).unwrap();
    assert_eq!(late_mark(&lab, id), None);
}

#[test]
fn a_full_map_of_audit_sessions_is_a_gap_as_long_as_it() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    let login = stage.start(&lab, &who, WAITS);
    await_file(&lab.home().join("inside"));
    let mut maps = Maps::pinned(&lab.pins()).unwrap();
    let free = (UNUSED..).filter_map(AuditSessionId::new);
    let taken: Vec<_> = free
        .take_while(|id| maps.note_late(*id, LATER).is_ok())
        .collect();
    lab.agent.start().unwrap();
    let problem = || status::read(&lab.root().join("run")).unwrap().problem;
    let is_unrecorded = || problem().is_some_and(|why| why.contains("not recorded completely"));
    await_that("the status shows the login", is_unrecorded);
    let id = the_one(&lab, &who).audit_session.unwrap();
    assert_eq!(late_mark(&lab, id), None);
    for taken in taken {
        maps.forget_late(taken, LATER);
    }
    await_that("the login is recorded", || !is_unrecorded());
    assert_eq!(late_mark(&lab, id), Some(the_one(&lab, &who).id.mark()));
    touch(&lab.home().join("go"));
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    let summary = session.summary();
    let gaps = session.session.gaps.iter();
    let gaps = gaps.filter(|gap| gap.cause == GapCause::MarksFull);
    let to = gaps.map(|gap| gap.to).max();
    let to = to.unwrap_or_else(|| panic!("{summary:#?}"));
    let (ran, _) = exec_of(&session, &stage.running()[0]).unwrap();
    assert!(to < ran.at, "{summary:#?}");
}

/// To the next agent the session looks as if it was recorded without a break.
#[test]
fn gaps_of_a_full_map_go_on_over_a_restart() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    // Without a fork: the probe counts each one that gets no mark.
    let go = lab.home().join("go");
    mkfifo(&go, Mode::S_IRUSR).unwrap();
    std::os::unix::fs::chown(&go, Some(uid_of(lab.user())), None).unwrap();
    let login = stage.start(&lab, &who, "touch inside; read line < go; $T; true");
    await_file(&lab.home().join("inside"));
    let mut maps = Maps::pinned(&lab.pins()).unwrap();
    let taken: Vec<_> = FREE_PIDS
        .take_while(|tgid| maps.mark_task(*tgid, UNUSED_MARK).is_ok())
        .collect();
    let problem = |lab: &Lab| status::read(&lab.root().join("run")).unwrap().problem;
    let is_unrecorded =
        |lab: &Lab| problem(lab).is_some_and(|why| why.contains("not recorded completely"));
    let gaps = |lab: &Lab| the_one_recorded(lab, &who).session.gaps;
    lab.agent.start().unwrap();
    await_that("the status shows the login", || is_unrecorded(&lab));
    let before = boot_now();
    lab.agent.stop().unwrap();
    assert!(
        gaps(&lab).iter().any(|gap| gap.to >= before),
        "{:#?}",
        gaps(&lab)
    );
    lab.agent.start().unwrap();
    await_that("the status shows it again", || is_unrecorded(&lab));
    let before = boot_now();
    lab.agent.kill().unwrap();
    lab.agent.start().unwrap();
    await_that("the next agent has looked", || {
        let written = status::read(&lab.root().join("run")).unwrap();
        written.problem.is_some() && gaps(&lab).iter().any(|gap| gap.to >= before)
    });
    for taken in taken {
        maps.unmark_task(taken);
    }
    await_that("the login is recorded", || !is_unrecorded(&lab));
    std::fs::write(&go, "on\n").unwrap();
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    let mut gaps: Vec<_> = session
        .session
        .gaps
        .iter()
        .map(|gap| (gap.from, gap.to))
        .collect();
    gaps.sort_unstable();
    let mut covered_to = gaps[0].0;
    for (from, to) in &gaps {
        assert!(*from <= covered_to, "{gaps:#?}");
        covered_to = covered_to.max(*to);
    }
    let (ran, _) = exec_of(&session, &stage.running()[0]).unwrap();
    assert!(
        before < covered_to && covered_to < ran.at,
        "{:#?}",
        session.summary()
    );
}

const WAITS: &str = "touch inside; while [ ! -e go ]; do sleep 0.1; done; $T; \
                     while [ ! -e leave ]; do sleep 0.1; done";

/// Returns the session whose mark the probe gives to processes of this audit session.
fn late_mark(lab: &Lab, audit_session: AuditSessionId) -> Option<Mark> {
    let pinned = MapData::from_pin(lab.pins().join(LATE_MARKS)).unwrap();
    let map: HashMap<MapData, u32, Mark> = HashMap::try_from(Map::HashMap(pinned)).unwrap();
    map.get(&audit_session.get(), 0).ok()
}

fn uid_of(user: &str) -> u32 {
    User::from_name(user).unwrap().unwrap().uid.as_raw()
}

fn the_one(lab: &Lab, who: &Certificate) -> SessionOpened {
    the_one_recorded(lab, who).session.opened
}

fn the_one_recorded(lab: &Lab, who: &Certificate) -> Recorded {
    let mut sessions = lab.sessions_of(who).unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:#?}");
    sessions.remove(0)
}
