//! A session that fills the ring faster than the agent reads it delays nothing that others need.

use std::fs;
use std::time::{Duration, Instant};

use vctl_agent::probe::Maps;
use vctl_common::id::CertSerial;
use vctl_common::session::{GapCause, Stamp};
use vctl_common::spool::{Filter, SessionRecord, SpoolReader};
use vctl_common::status;
use vctl_tests::lab::Lab;

use vctl_tests::fixture::{FLOOD, await_that, lab};

/// More than the agent needs to stop or to start in a flood, and less than the flood lasts.
const SOON: Duration = Duration::from_secs(12);

#[test]
fn a_flood_delays_no_login_no_stop_and_no_start() {
    let Some(mut lab) = lab() else { return };
    let [flood, other] = [("flood", 1), ("other", 2)]
        .map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let mut flooding = lab.ssh_start(&flood, FLOOD).unwrap();
    let maps = Maps::pinned(&lab.pins()).unwrap();
    let lost = || maps.host_counters().ring_full;
    await_that("the ring is full", || lost() > 0);

    lab.ssh_ok(&other, "true").unwrap();
    let stamped = lab.sessions_of(&other).unwrap().remove(0);
    assert_eq!(stamped.session.opened.stamp, Stamp::InTime);
    await_that("the other session is closed", || {
        record(&lab, 2).closed.is_some()
    });
    await_that("its losses are stated", || {
        let gaps = record(&lab, 1).gaps;
        gaps.iter().any(|gap| gap.cause == GapCause::RingFull)
    });
    let written_at = || status::read(&lab.root().join("run")).unwrap().written_at;
    let before = written_at();
    await_that("the status is written", || written_at() != before);

    let before = lost();
    // The first statement may be of counters from before `before`, which are some looks at the ring older.
    for _ in 0..2 {
        let stated = stated_events(&record(&lab, 1));
        await_that("losses are stated again", || {
            stated_events(&record(&lab, 1)) > stated
        });
    }
    let begun = Instant::now();
    assert!(lab.agent.stop().unwrap().success());
    let stopped = begun.elapsed();
    assert!(stopped < SOON, "{stopped:?}");
    let begun = Instant::now();
    lab.agent.start().unwrap();
    let started = begun.elapsed();
    assert!(started < SOON, "{started:?}");
    let around_the_stop = lost() - before;
    let before = lost();
    await_that("events are lost again", || lost() > before);
    assert_eq!(flooding.try_wait().unwrap(), None, "the flood is over");

    fs::remove_file(lab.home().join("flood-on")).unwrap();
    flooding.wait().unwrap();
    await_that("the flood is closed", || record(&lab, 1).closed.is_some());
    let ended = record(&lab, 1);
    let stated = stated_events(&ended);
    let produced = ended.closed.unwrap().produced.unwrap();
    // The agent that was stopped had no time to state its last losses. These numbers are missing without a gap.
    let unstated = produced.checked_sub(ended.stored + stated);
    assert!(
        unstated.is_some_and(|unstated| unstated <= around_the_stop),
        "{stated} of {produced} stated, {} stored, {around_the_stop} lost around the stop",
        ended.stored
    );
    // One for each run of numbers would be many thousands.
    assert!(ended.gaps.len() < 2000, "{} gaps", ended.gaps.len());
}

fn stated_events(session: &SessionRecord) -> u64 {
    session.gaps.iter().filter_map(|gap| gap.events).sum()
}

/// Returns the one session of a serial, without its events: those of the flood are many.
fn record(lab: &Lab, serial: u64) -> SessionRecord {
    let spool = SpoolReader::open(&lab.spool()).unwrap();
    let of_serial = Filter::Serial(CertSerial::new(serial).unwrap());
    let mut sessions = spool.sessions(&of_serial).unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:#?}");
    sessions.remove(0)
}
