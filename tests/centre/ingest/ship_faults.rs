//! The centre gets every event once, whatever happens on the way.

use std::time::{SystemTime, UNIX_EPOCH};

use vctl_common::time::wall_now;
use vctl_tests::centre::{Centre, Options};
use vctl_tests::lab::{PATIENCE, Programs, eventually};
use vctl_tests::ship::{Source, faults};

/// Returns a separate centre, because the spec stops its servers.
fn centre() -> Option<Centre> {
    Centre::or_skip(&Options::default())
}

/// Returns a seed, and prints it so that a developer can repeat a failure.
#[expect(clippy::print_stderr, reason = "shown when the spec fails")]
fn seed() -> u64 {
    let now: SystemTime = wall_now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = u64::from(since.subsec_nanos());
    eprintln!("seed {seed}");
    seed
}

#[test]
fn a_killed_postgres_gets_every_event_once() {
    let Some(centre) = centre() else { return };
    let host = centre.enroll("fault-restarts").unwrap();
    let dir = tempfile::tempdir().unwrap();
    faults::restarts(&centre, &host, dir.path(), 4).unwrap();
}

#[test]
fn cut_connections_lose_and_double_nothing() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("fault-cuts").unwrap();
    let dir = tempfile::tempdir().unwrap();
    faults::cuts(centre, &host, dir.path(), 8, seed()).unwrap();
}

#[test]
fn a_sealed_vault_costs_no_event_and_is_named() {
    let Some(centre) = centre() else { return };
    let host = centre.enroll("fault-sealed").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lasting = std::time::Duration::from_secs(5);
    faults::sealed(&centre, &host, dir.path(), lasting).unwrap();
}

#[test]
fn an_agent_killed_at_random_points_ships_every_event_once() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("fault-kills").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let program = Programs::find().unwrap().directory.join("ship-load");
    faults::kills(centre, &host, dir.path(), &program, 15, seed()).unwrap();
}

#[test]
fn a_database_without_the_schema_is_named_and_nothing_is_lost() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("fault-schema").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut way = centre.way(&host, dir.path()).unwrap();
    let good = way.clone();
    centre.postgres.create_database("no_schema").unwrap();
    "no_schema".clone_into(&mut way.settings.db.name);
    let mut source = Source::open(&dir.path().join("spool"), 1 << 20, 1 << 30).unwrap();
    let id = source.log_in(1).unwrap();
    source.work(id, 50).unwrap();
    let shipper = source.ship(&way).unwrap();
    let told = eventually(PATIENCE, || {
        let problem = shipper.progress().status().problem;
        Ok(problem.is_some_and(|why| why.contains("vctl migrate")))
    });
    assert!(told.unwrap(), "{:?}", shipper.progress().status());
    drop(shipper);
    let _shipper = source.ship(&good).unwrap();
    centre
        .ensure_has(&host.name, &source.sessions, PATIENCE)
        .unwrap();
}
