//! No space on the disk, in the spool or in the ring. Lost events are counted, and nothing hangs.

use std::path::Path;
use std::time::Instant;

use vctl_agent::probe::Maps;
use vctl_agent::session::boot_now;
use vctl_common::session::{CloseReason, Gap, GapCause};
use vctl_common::status;
use vctl_common::wire::SessionCounters;
use vctl_tests::lab::{Lab, Options, Recorded};

use vctl_tests::fixture::{
    FREE_PIDS, NEVER_HUNG, Stage, UNUSED_MARK, await_file, await_that, exec_of, lab, touch,
};

#[test]
fn strict_refuses_logins_while_the_disk_is_full() {
    let options = Options {
        agent: vec![
            ("mode", "strict".to_owned()),
            ("ring_size", "64KiB".to_owned()),
        ],
        spool_bytes: Some(64 << 20),
        ..Options::default()
    };
    let Some(lab) = Lab::or_skip(&options) else {
        return;
    };
    let stage = Stage::set(&lab);
    let [early, during, later] = [("early", 1), ("during", 2), ("later", 3)]
        .map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let login = stage.start(
        &lab,
        &early,
        "touch inside; while [ ! -e full ]; do sleep 0.1; done; \
         for i in $(seq 300); do $T; done; touch done; \
         while [ ! -e leave ]; do sleep 0.1; done",
    );
    await_file(&lab.home().join("inside"));
    let filler = lab.spool().join("filler");
    fill(&filler);
    touch(&lab.home().join("full"));
    await_file(&lab.home().join("done"));
    let asked = Instant::now();
    let refused = lab.ssh(&during, "touch got-in").unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(asked.elapsed() < NEVER_HUNG, "{:?}", asked.elapsed());
    assert!(!lab.home().join("got-in").exists());
    std::fs::remove_file(filler).unwrap();
    await_that("logins go on", || {
        lab.ssh(&later, "true").unwrap().status.success()
    });
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&early, 1).unwrap().remove(0);
    let closed = session.session.closed.as_ref().unwrap();
    let gaps = session.session.gaps.iter();
    let lost: u64 = gaps
        .filter(|gap| gap.cause == GapCause::RingFull)
        .filter_map(|gap| gap.events)
        .sum();
    assert!(lost > 0, "nothing was lost: the spec proves nothing");
    assert_eq!(closed.produced, Some(session.events.len() as u64 + lost));
    let ran = stage.running();
    assert_eq!(ran.len(), 300);
    let unseen = ran.iter().filter(|ran| exec_of(&session, ran).is_none());
    assert!(unseen.count() as u64 <= lost, "{lost} events lost");
}

#[test]
fn a_full_map_of_marks_shows_in_its_sessions() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let [early, during, later] = [("early", 1), ("during", 2), ("later", 3)]
        .map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let login = stage.start(
        &lab,
        &early,
        "touch inside; while [ ! -e full ]; do :; done; \
         for i in $(seq 30); do $T unmarked; sleep 0.1; done; touch done; \
         while [ ! -e leave ]; do :; done",
    );
    await_file(&lab.home().join("inside"));
    let pins = lab.pins();
    let mut maps = Maps::pinned(&pins).unwrap();
    let taken: Vec<u32> = FREE_PIDS
        .take_while(|tgid| maps.mark_task(*tgid, UNUSED_MARK).is_ok())
        .collect();
    touch(&lab.home().join("full"));
    await_file(&lab.home().join("done"));
    let asked = Instant::now();
    lab.ssh_ok(&during, "true").unwrap();
    assert!(asked.elapsed() < NEVER_HUNG, "{:?}", asked.elapsed());
    for tgid in taken {
        maps.unmark_task(tgid);
    }
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let hurt = lab.closed_sessions(&early, 1).unwrap().remove(0);
    let gaps = unmarked_in_a_row(&hurt);
    // One for each second of the thirty forks, and one for the end.
    let seconds = gaps.last().unwrap().to.since(gaps[0].from).as_secs();
    assert!(gaps.len() as u64 <= seconds + 2, "{gaps:#?}");
    // On a slow machine the hook may have left a file for a later look.
    await_that("the login in between is known", || {
        !lab.sessions_of(&during).unwrap().is_empty()
    });
    let known = lab.sessions_of(&during).unwrap();
    assert!(known.iter().all(|session| session.ensure_whole().is_err()));
    lab.ssh_ok(&later, "true").unwrap();
    lab.whole_session(&later).unwrap();
}

#[test]
fn unmarked_children_around_a_restart_are_stated_at_once() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let login = stage.start(
        &lab,
        &who,
        "touch inside; while [ ! -e full ]; do :; done; \
         while [ -e full ]; do $T unmarked; sleep 0.1; done; touch quiet; \
         while [ ! -e leave ]; do :; done",
    );
    let home = lab.home();
    await_file(&home.join("inside"));
    let mut maps = Maps::pinned(&lab.pins()).unwrap();
    let taken: Vec<u32> = FREE_PIDS
        .take_while(|tgid| maps.mark_task(*tgid, UNUSED_MARK).is_ok())
        .collect();
    touch(&home.join("full"));
    let stated_to = |lab: &Lab| {
        let session = lab.sessions_of(&who).unwrap().remove(0).session;
        assert_eq!(session.closed, None);
        let gaps = session.gaps.iter();
        let gaps = gaps.filter(|gap| gap.cause == GapCause::MarksFull);
        gaps.map(|gap| gap.to).max()
    };
    await_that("the first ones are stated", || stated_to(&lab).is_some());
    let during = stage.told();
    await_that("there are more", || stage.told() > during + 5);

    let before = boot_now();
    assert!(lab.agent.stop().unwrap().success());
    assert!(stated_to(&lab) >= Some(before), "not before the stop");
    let during = stage.told();
    await_that("there are more without an agent", || {
        stage.told() > during + 5
    });
    std::fs::remove_file(home.join("full")).unwrap();
    await_file(&home.join("quiet"));
    let quiet = boot_now();
    lab.agent.start().unwrap();
    await_that("these are stated while the session is open", || {
        stated_to(&lab) >= Some(quiet)
    });

    for tgid in taken {
        maps.unmark_task(tgid);
    }
    touch(&home.join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    unmarked_in_a_row(&lab.closed_sessions(&who, 1).unwrap()[0]);
}

/// Returns the gaps of children without a mark. Asserts that they begin with the session and that each follows the one
/// before.
fn unmarked_in_a_row(session: &Recorded) -> Vec<Gap> {
    let gaps = session.session.gaps.iter();
    let gaps = gaps.filter(|gap| gap.cause == GapCause::MarksFull);
    let mut gaps: Vec<Gap> = gaps.cloned().collect();
    gaps.sort_by_key(|gap| (gap.from, gap.to));
    let first = gaps.first().map(|gap| gap.from);
    let opened = &session.session.opened;
    let begin = opened.marked_at.unwrap_or(opened.opened_at);
    assert_eq!(first, Some(begin), "{:#?}", session.summary());
    let in_a_row = gaps.windows(2).all(|two| two[0].to == two[1].from);
    assert!(in_a_row, "{gaps:#?}");
    gaps
}

#[test]
fn a_login_is_recorded_once_a_full_map_has_room() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let pins = lab.pins();
    let mut maps = Maps::pinned(&pins).unwrap();
    // Marks that no session has.
    let fill_sessions = |maps: &mut Maps| -> Vec<u64> {
        let free = 2..100_000_u64;
        free.take_while(|mark| maps.open_session(*mark, SessionCounters::default()).is_ok())
            .collect()
    };
    let fill_marks = |maps: &mut Maps| -> Vec<u64> {
        FREE_PIDS
            .take_while(|tgid| maps.mark_task(*tgid, UNUSED_MARK).is_ok())
            .map(u64::from)
            .collect()
    };
    for (key_id, serial) in [("sessions", 1), ("marks", 2)] {
        let who = lab.certificate(key_id, serial).unwrap();
        let taken = match key_id {
            "sessions" => fill_sessions(&mut maps),
            _ => fill_marks(&mut maps),
        };
        let body = format!(
            "touch in-{key_id}; while [ ! -e go-{key_id} ]; do sleep 0.1; done; $T; \
             while [ ! -e leave-{key_id} ]; do sleep 0.1; done"
        );
        let login = stage.start(&lab, &who, &body);
        let in_home = |name: &str| lab.home().join(format!("{name}-{key_id}"));
        await_file(&in_home("in"));
        let problem = || status::read(&lab.root().join("run")).unwrap().problem;
        let is_unrecorded = || problem().is_some_and(|why| why.contains("not recorded completely"));
        await_that("the status shows the login", is_unrecorded);
        for taken in taken {
            match key_id {
                "sessions" => maps.close_session(taken),
                _ => maps.unmark_task(u32::try_from(taken).unwrap()),
            }
        }
        await_that("the login is recorded", || !is_unrecorded());
        touch(&in_home("go"));
        let ran = || {
            stage
                .running()
                .into_iter()
                .find(|truth| truth.case == key_id)
        };
        await_that("it has run a program", || ran().is_some());
        touch(&in_home("leave"));
        assert!(login.wait_with_output().unwrap().status.success());
        let mut sessions = Vec::new();
        await_that("its sessions have ended", || {
            sessions = lab.sessions_of(&who).unwrap();
            // The request in time had failed: that was its first end.
            let mut ends = sessions
                .iter()
                .filter_map(|one| one.session.closed.as_ref());
            ends.any(|end| end.reason == CloseReason::LastProcessEnded)
        });
        let recorded = sessions
            .iter()
            .find(|one| exec_of(one, &ran().unwrap()).is_some());
        let recorded = recorded.unwrap_or_else(|| panic!("{sessions:#?}"));
        let summary = recorded.summary();
        let gaps = recorded.session.gaps.iter();
        let gaps = gaps.filter(|gap| gap.cause == GapCause::MarksFull);
        let to = gaps.map(|gap| gap.to).max();
        let to = to.unwrap_or_else(|| panic!("{summary:#?}"));
        let (ran, _) = exec_of(recorded, &ran().unwrap()).unwrap();
        assert!(to < ran.at, "{summary:#?}");
    }
}

#[test]
fn a_spool_at_its_cap_drops_the_oldest_with_a_gap() {
    const CAP: u64 = 256 << 10;
    let options = Options {
        agent: vec![
            ("spool_cap", "256KiB".to_owned()),
            ("segment_size", "64KiB".to_owned()),
        ],
        ..Options::default()
    };
    let Some(lab) = Lab::or_skip(&options) else {
        return;
    };
    let first = lab.certificate("first", 1).unwrap();
    lab.ssh_ok(&first, "true").unwrap();
    lab.whole_session(&first).unwrap();
    let bulk = lab.certificate("bulk", 2).unwrap();
    lab.ssh_ok(
        &bulk,
        // Many short commands, because long ones are cut when they exceed the session's budget.
        "for i in $(seq 800); do /bin/true $i; done",
    )
    .unwrap();
    lab.closed_sessions(&bulk, 1).unwrap();
    let last = lab.certificate("last", 3).unwrap();
    lab.ssh_ok(&last, "true").unwrap();
    lab.whole_session(&last).unwrap();
    let bytes: u64 = std::fs::read_dir(lab.spool())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes <= CAP, "{bytes} bytes");
    let shown = lab.vctl(&["session", "--local", "2"]).unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(!shown.contains("complete: all"), "{shown}");
    let left = lab.sessions_of(&bulk).unwrap().remove(0);
    let numbers = left.execs().filter_map(|(_, exec)| {
        let number = exec.argv.get(1).filter(|_| exec.argv[0] == b"/bin/true")?;
        str::from_utf8(number).unwrap().parse().ok()
    });
    let numbers: Vec<u32> = numbers.collect();
    let oldest = numbers[0];
    assert!(oldest > 1, "nothing was dropped: the spec proves nothing");
    assert_eq!(numbers, (oldest..=800).collect::<Vec<_>>());
    let gaps = left.session.gaps.iter();
    let dropped: u64 = gaps
        .filter(|gap| gap.cause == GapCause::SpoolCap)
        .filter_map(|gap| gap.events)
        .sum();
    let closed = left.session.closed.as_ref().unwrap();
    let produced = left.events.len() as u64 + dropped;
    assert_eq!(closed.produced, Some(produced), "{shown}");
}

#[test]
fn a_late_stamped_session_is_never_complete() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    let login = stage.start(
        &lab,
        &who,
        "touch inside; while [ ! -e go ]; do sleep 0.1; done; $T first; \
         while [ ! -e leave ]; do sleep 0.1; done; $T last",
    );
    let home = lab.home();
    await_file(&home.join("inside"));
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    touch(&home.join("go"));
    await_that("some of it has ended", || {
        lab.sessions_of(&who).unwrap()[0].exits().count() >= 3
    });
    assert!(lab.sessions_of(&who).unwrap()[0].session.closed.is_none());
    touch(&home.join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    for truth in stage.running() {
        assert!(exec_of(&session, &truth).is_some(), "{truth:?}");
    }
    let shown = lab.vctl(&["session", "--local", "1"]).unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(
        shown.contains("late") && !shown.contains("complete: all"),
        "{shown}"
    );
}

fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    let block = vec![0; 4096];
    while file.write_all(&block).is_ok() {}
}
