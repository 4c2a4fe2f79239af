//! `vctl prune` and `vctl retention` delete old data, and no other data.

use std::process::Output;
use std::time::{Duration, Instant};

use vctl_tests::centre::Centre;
use vctl_tests::terminal::Terminal;

use crate::fixture::programs::{stderr, stdout, vctl};

/// Sessions and accesses. The name of each one says why it stays or goes.
const ROWS: &str = "
insert into vctl.audit_host (hostname) values ('web-1');
select vctl.ensure_event_day((now() at time zone 'UTC')::date - d) from unnest(array[15, 14]) d;
insert into vctl.audit_session (id, host_id, boot_id, opened_at, closed_at, updated_at, login_user, last_day, ca_fingerprint, cert_serial)
select gen_random_uuid(), 1, gen_random_uuid(), now() - make_interval(days => opened), now() - make_interval(days => closed),
    now() - make_interval(days => coalesce(closed, opened)), name, (now() at time zone 'UTC')::date - last, 'SHA256:a', serial
from (values ('old', 400, 399, 399, 1), ('never-ended', 4000, null, 3999, 2), ('events-left', 400, 399, 10, 3),
             ('young', 20, 19, 19, 4)) s (name, opened, closed, last, serial);
insert into vctl.audit_gap (host_id, boot_id, session_id, cause, from_at, to_at, gap, sha256)
select 1, boot_id, id, 'ring_full', opened_at, opened_at, '{}', sha256(id::text::bytea) from vctl.audit_session;
insert into vctl.access_log (vault_user, opened_at, recorded_at, hostname, login_user, ca_fingerprint, cert_serial)
select 'oidc-a', now() - make_interval(days => age), now() - make_interval(days => age), 'web-1', name, 'SHA256:a', serial
from (values ('old-without-session', 2000, 99), ('of-never-ended', 2000, 2), ('by-hop', 2000, 98), ('young', 400, 1)) a (name, age, serial);
insert into vctl.access_hop (access_id, hop, hostname, ca_fingerprint, cert_serial)
select id, 1, 'jump', 'SHA256:a', 2 from vctl.access_log where login_user = 'by-hop'";

#[test]
fn prune_deletes_old_rows_and_keeps_open_sessions() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "prune_rows";
    centre.create_database_with_schema(db).unwrap();
    centre.postgres.psql(db, ROWS).unwrap();
    let names = |table: &str| {
        let sql =
            format!("select string_agg(login_user, ' ' order by login_user) from vctl.{table}");
        centre.postgres.psql(db, &sql).unwrap()
    };
    let state = || {
        (
            names("audit_session"),
            names("access_log"),
            days(centre, db),
        )
    };
    let before = state();

    let auditor = centre.with_policies(&["vctl-auditor"]).unwrap();
    let plan = vctl(centre, &auditor, db, &["prune", "--dry-run"]).output();
    let plan = succeeded(&plan.unwrap());
    assert!(plan.contains("would delete 1 session\n"), "{plan}");
    assert!(plan.contains("would delete 1 access\n"), "{plan}");
    assert_eq!(plan.matches("the events of").count(), 1, "{plan}");
    assert_eq!(state(), before);
    let refused = vctl(centre, &auditor, db, &["prune", "--yes"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(77), "{}", stderr(&refused));
    assert_eq!(state(), before);

    let pruner = centre.with_policies(&["vctl-pruner"]).unwrap();
    let plan_of_pruner = vctl(centre, &pruner, db, &["prune", "--dry-run"]).output();
    assert_eq!(succeeded(&plan_of_pruner.unwrap()), plan);
    let pruned = vctl(centre, &pruner, db, &["prune", "--yes"]).output();
    assert_eq!(
        succeeded(&pruned.unwrap()),
        plan.replace("would delete", "deleted")
    );
    let (sessions, accesses, days_left) = state();
    assert_eq!(sessions, "events-left never-ended young");
    assert_eq!(accesses, "by-hop of-never-ended young");
    // The partition of the fifteenth day is gone. The partitions of today and of the next week exist.
    assert_eq!((before.2, days_left), (10, 9));
    let gaps = "select count(*) from vctl.audit_gap";
    assert_eq!(centre.postgres.psql(db, gaps).unwrap(), "3");
    let again = vctl(centre, &pruner, db, &["prune", "--yes"]).output();
    assert!(!succeeded(&again.unwrap()).contains("deleted 1"));
}

#[test]
fn prune_survives_the_end_of_its_connection_at_the_question() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "prune_question";
    centre.create_database_with_schema(db).unwrap();
    let pruner = centre.with_policies(&["vctl-pruner"]).unwrap();
    let command = vctl(centre, &pruner, db, &["prune"]);
    let mut terminal = Terminal::start(command, 200).unwrap();
    terminal.wait_for("[y/N]").unwrap();
    let end = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where datname = '{db}' and pid <> pg_backend_pid()"
    );
    assert_eq!(centre.ask(&end).unwrap(), "1");
    terminal.type_in("y\n").unwrap();
    let ended = terminal.end().unwrap();
    assert_eq!(ended.code(), Some(0), "{}", terminal.shown());
}

#[test]
fn no_input_refuses_to_prune_on_a_terminal_too() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let pruner = centre.with_policies(&["vctl-pruner"]).unwrap();
    // The database does not exist: vctl refuses before it connects.
    let command = vctl(centre, &pruner, "nowhere", &["prune", "--no-input"]);
    let mut terminal = Terminal::start(command, 200).unwrap();
    let ended = terminal.end().unwrap();
    let shown = terminal.shown();
    assert_eq!(ended.code(), Some(2), "{shown}");
    assert!(
        shown.contains("needs confirmation, and `--no-input` forbids prompts"),
        "{shown}"
    );
}

#[test]
fn prune_asks_and_refuses_inconsistent_periods() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let pruner = centre.with_policies(&["vctl-pruner"]).unwrap();
    for (args, said) in [
        (&["prune"][..], "no terminal"),
        (&["prune", "--yes", "--days", "0"], "--days"),
        (
            &["prune", "--yes", "--session-days", "13"],
            "`--session-days` would keep sessions for 13 days",
        ),
        (
            &["prune", "--yes", "--access-days", "364"],
            "`--access-days` would keep accesses for 364 days",
        ),
        (
            &["prune", "--yes", "--session-days", "0"],
            "`--access-days` would keep",
        ),
        (&["prune", "--yes", "--dry-run"], "--dry-run"),
    ] {
        // The database does not exist: vctl must refuse before it connects.
        let output = vctl(centre, &pruner, "nowhere", args).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    // The database also refuses these periods from another client.
    let db = "prune_periods";
    centre.create_database_with_schema(db).unwrap();
    for periods in [
        "0, 365, 1095",
        "14, 13, 1095",
        "14, 365, 364",
        "null, 365, 1095",
    ] {
        for function in ["prune_v1", "prune_plan_v1"] {
            let sql = format!("select * from vctl.{function}({periods})");
            let refused = centre.postgres.psql(db, &sql).unwrap_err();
            assert!(format!("{refused:#}").contains("keep events at least a day"));
        }
    }
}

#[test]
fn a_day_goes_in_under_a_second_however_full_it_is() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "prune_time";
    centre.create_database_with_schema(db).unwrap();
    centre
        .postgres
        .psql(
            db,
            "select vctl.ensure_event_day((now() at time zone 'UTC')::date - d) from unnest(array[30, 40]) d;
             insert into vctl.kernel_event (day, session_id, seq, at, wall_offset, host_id, kind, pid, head)
             select (now() at time zone 'UTC')::date - 30, gen_random_uuid(), 1, now(), 0, 1, 1, 1, '\\x00'
             from generate_series(1, 200000)",
        )
        .unwrap();
    let took = |days: u32| {
        let asked = Instant::now();
        let sql = format!("select count(*) from vctl.prune_v1({days}, 365, 1095)");
        assert_eq!(centre.postgres.psql(db, &sql).unwrap(), "1");
        asked.elapsed()
    };
    let (empty, full) = (took(35), took(14));
    assert!(
        full < Duration::from_secs(1),
        "{full:?}, and an empty one {empty:?}"
    );
}

#[test]
fn retention_lists_periods_and_overdue_days() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "retention";
    centre.create_database_with_schema(db).unwrap();
    centre.postgres.psql(db, ROWS).unwrap();
    let auditor = centre.with_policies(&["vctl-auditor"]).unwrap();
    let report = vctl(centre, &auditor, db, &["retention"]).output();
    let report = succeeded(&report.unwrap());
    assert!(report.contains("audit_session"), "{report}");
    assert!(
        report.contains("warning: events of 1 day are older than 14 days"),
        "{report}"
    );
    assert!(
        report.contains("1 session older than 365 days was never closed"),
        "{report}"
    );
    assert_eq!(days(centre, db), 10);
}

fn days(centre: &Centre, db: &str) -> u32 {
    let sql = "select count(*) from vctl.event_days()";
    centre.postgres.psql(db, sql).unwrap().parse().unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output)
}
