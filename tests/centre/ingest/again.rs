//! Batches that arrive again: nothing is stored twice.

use std::fs;
use std::time::Duration;

use vctl_common::id::SessionId;
use vctl_common::session::{CloseReason, JournalEntry, SessionClosed, SessionOpened, Stamp};
use vctl_common::time::BootNs;
use vctl_tests::centre::Centre;
use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::ship::Source;

#[test]
fn events_with_a_wrong_clock_are_stored_once() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = "again-clock";
    let identity = centre.enroll(host).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let way = centre.way(&identity, dir.path()).unwrap();
    let spool = dir.path().join("spool");
    let mut source = Source::open(&spool, 256 << 10, 1 << 30).unwrap();
    // So far back that each row has the day of its arrival.
    source.set_back(Duration::from_hours(100 * 24));
    let id = source.log_in(1).unwrap();
    source.work(id, 50).unwrap();
    let shipper = source.ship(&way).unwrap();
    centre.ensure_has(host, &source.sessions, PATIENCE).unwrap();
    drop(shipper);
    // The next arrival is on another day.
    let of_host = format!("(select id from vctl.audit_host where hostname = '{host}')");
    let yesterday = format!(
        "do $$ begin perform vctl.ensure_event_day(((now() at time zone 'UTC')::date - 1)); end $$; \
         update vctl.kernel_event set day = day - 1 where host_id = {of_host}; \
         update vctl.audit_session set first_day = first_day - 1, last_day = last_day - 1 where host_id = {of_host}"
    );
    centre.ask(&yesterday).unwrap();

    let truth = std::mem::take(&mut source.sessions);
    drop(source);
    // As a spool that was restored from a copy: it is shipped from its beginning.
    fs::remove_file(spool.join("spool.id")).unwrap();
    let mut source = Source::open(&spool, 256 << 10, 1 << 30).unwrap();
    source.set_back(Duration::from_hours(100 * 24));
    source.sessions = truth;
    source.work(id, 5).unwrap();
    let _shipper = source.ship(&way).unwrap();
    centre.ensure_has(host, &source.sessions, PATIENCE).unwrap();
    let spools =
        format!("select count(*) from vctl.ingest_cursor where host_id = {of_host} and events > 0");
    let both = eventually(PATIENCE, || Ok(centre.ask(&spools)? == "2"));
    assert!(both.unwrap());
}

#[test]
fn a_restored_postgres_gets_a_gap_for_dropped_records() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = "again-restored";
    let identity = centre.enroll(host).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let way = centre.way(&identity, dir.path()).unwrap();
    let spool = dir.path().join("spool");
    let open = || Source::open(&spool, 64 << 10, 1 << 30).unwrap();
    let mut source = open();
    let dropped = source.log_in(1).unwrap();
    source.work(dropped, 2000).unwrap();
    let id = source.log_in(2).unwrap();
    source.work(id, 10).unwrap();
    let shipper = source.ship(&way).unwrap();
    centre.ensure_has(host, &source.sessions, PATIENCE).unwrap();
    drop(shipper);
    let mut truth = std::mem::take(&mut source.sessions);
    drop(source);

    // The backup is from before the host's first record, and the host has dropped what it shipped first.
    let of_host = format!("(select id from vctl.audit_host where hostname = '{host}')");
    let restored = format!(
        "delete from vctl.kernel_event where host_id = {of_host}; \
         delete from vctl.audit_session where host_id = {of_host}; \
         delete from vctl.ingest_cursor where host_id = {of_host}"
    );
    centre.ask(&restored).unwrap();
    let files = fs::read_dir(&spool)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ext| ext == "seg"))
        .collect();
    segments.sort();
    for segment in &segments[..2] {
        fs::remove_file(segment).unwrap();
    }

    let mut source = open();
    source.sessions = truth.clone();
    source.work(id, 5).unwrap();
    let _shipper = source.ship(&way).unwrap();
    truth.remove(&dropped);
    truth.insert(id, 15);
    let stored = format!("select count(*) from vctl.kernel_event where session_id = '{id}'");
    let came = eventually(PATIENCE, || Ok(centre.ask(&stored)? == "15"));
    assert!(came.unwrap(), "{}", centre.ask(&stored).unwrap());
    let gaps = format!(
        "select cause, session_id is null, from_at < to_at from vctl.audit_gap where host_id = {of_host}"
    );
    assert_eq!(centre.ask(&gaps).unwrap(), "centre_lost|t|t");
}

/// A map of the kernel was full when the login asked for its stamp, and had room when its hook had left a file.
#[test]
fn a_session_that_is_recorded_after_all_has_its_own_end() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = "again-recorded";
    let identity = centre.enroll(host).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let way = centre.way(&identity, dir.path()).unwrap();
    let spool = dir.path().join("spool");
    let mut source = Source::open(&spool, 256 << 10, 1 << 30).unwrap();
    let shipper = source.ship(&way).unwrap();
    let ids = [(); 2].map(|()| SessionId::generate());
    let began = source.tick();
    let opened = |id, stamp, marked_at| {
        JournalEntry::Opened(Box::new(SessionOpened {
            stamp,
            marked_at: Some(BootNs(marked_at)),
            // JSON has it as an escape that Postgres does not decode.
            remote_host: Some("a\0b".to_owned()),
            ..SessionOpened::unknown(id, BootNs(began))
        }))
    };
    let state = |id| {
        let sql = format!(
            "select coalesce(closed ->> 'reason', 'runs'), closed_at is null, produced, \
             vctl.without_escapes(opened) ->> 'stamp' from vctl.audit_session where id = '{id}'"
        );
        centre.ask(&sql).unwrap()
    };
    let await_state = |id, expected: &str| {
        let came = eventually(PATIENCE, || Ok(state(id) == expected));
        assert!(came.unwrap(), "{} is not {expected}", state(id));
    };
    // The one arrives in single batches, and the other in one.
    for id in ids {
        let is_slow = id == ids[0];
        source.note(&opened(id, Stamp::InTime, began)).unwrap();
        let never = SessionClosed {
            id,
            at: BootNs(source.tick()),
            reason: CloseReason::NeverRecorded,
            produced: None,
            stored: 0,
            leader_ended_at: None,
            requested: None,
        };
        source.note(&JournalEntry::Closed(never.clone())).unwrap();
        if is_slow {
            await_state(id, "never_recorded|f||in_time");
        }
        let marked_at = source.tick();
        source.note(&opened(id, Stamp::Late, marked_at)).unwrap();
        source.work(id, 3).unwrap();
        if is_slow {
            await_state(id, "runs|t||late");
        }
        source.log_out(id).unwrap();
    }
    for id in ids {
        await_state(id, "last_process_ended|f|3|late");
    }
    drop(shipper);

    // As a spool that was restored from a copy: it is shipped from its beginning.
    let truth = std::mem::take(&mut source.sessions);
    drop(source);
    fs::remove_file(spool.join("spool.id")).unwrap();
    let mut source = Source::open(&spool, 256 << 10, 1 << 30).unwrap();
    source.sessions = truth;
    let last = source.log_in(1).unwrap();
    source.work(last, 1).unwrap();
    let _shipper = source.ship(&way).unwrap();
    centre.ensure_has(host, &source.sessions, PATIENCE).unwrap();
    for id in ids {
        assert_eq!(state(id), "last_process_ended|f|3|late");
    }
}
