//! No space on the disk, in the spool or in the ring. Lost events are counted, and nothing hangs.

use std::path::Path;
use std::time::Instant;

use vctl_agent::probe::Maps;
use vctl_common::session::{CloseReason, GapCause};
use vctl_common::status;
use vctl_tests::lab::{Lab, Options};

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
        "touch inside; while [ ! -e full ]; do :; done; $T unmarked; touch done; \
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
    let gaps = &hurt.session.gaps;
    assert!(
        gaps.iter().any(|gap| gap.cause == GapCause::MarksFull),
        "{:#?}",
        hurt.summary()
    );
    let known = lab.sessions_of(&during).unwrap();
    assert!(!known.is_empty(), "{}", lab.agent.last_words());
    assert!(known.iter().all(|session| session.ensure_whole().is_err()));
    lab.ssh_ok(&later, "true").unwrap();
    lab.whole_session(&later).unwrap();
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
        free.take_while(|mark| maps.open_session(*mark, 1, false).is_ok())
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
