//! Rows that arrive late are exported: events of the past, and transactions that commit after later ones.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Instant;

use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::time::BootNs;
use vctl_tests::centre::{Centre, DATABASE};

use super::{Exporter, Exporting, events_of, id_of, ids_of};

/// A transaction that stays open.
struct OpenTransaction {
    psql: Child,
    stdin: Option<ChildStdin>,
}

impl OpenTransaction {
    /// Runs `sql` in a transaction. It is done when this function returns.
    fn begin(centre: &Centre, sql: &str) -> Self {
        let postgres = &centre.postgres;
        let mut psql = postgres
            .psql_command(postgres.superuser(DATABASE), "verify-full", postgres.ca())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = psql.stdin.take().unwrap();
        writeln!(stdin, "begin;\n{sql};\nselect 'done';").unwrap();
        let lines = BufReader::new(psql.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "done"));
        Self {
            psql,
            stdin: Some(stdin),
        }
    }

    fn commit(mut self) {
        let mut stdin = self.stdin.take().unwrap();
        writeln!(stdin, "commit;").unwrap();
        drop(stdin);
        assert!(self.psql.wait().unwrap().success());
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.psql.wait();
    }
}

#[test]
fn a_transaction_that_commits_late_is_not_skipped() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let model = exporting.session(0, true);
    exporting.wait_for_end(model);
    let checkpoint = exporting.file("position");
    events_of(exporting.export(&checkpoint, &[]));
    // The same rows as the shipped session has, with another id.
    let late = "0193f3a1-0000-7000-8000-00000000abcd";
    let at = BootNs(exporting.source.tick());
    let gap = Gap::new(GapCause::RingFull, Some(late.parse().unwrap()), at, at);
    let gap = serde_json::to_string(&JournalEntry::Gap(gap.with_events(72_001))).unwrap();
    let held = OpenTransaction::begin(
        exporting.centre,
        &format!(
            "create temp table copied as select * from vctl.audit_session where id = '{model}';
             update copied set id = '{late}', opened = replace(opened::text, '{model}', '{late}')::json,
                 closed = replace(closed::text, '{model}', '{late}')::json, arrived = null, arrived_at = null;
             insert into vctl.audit_session select * from copied;
             insert into vctl.audit_gap (host_id, boot_id, session_id, cause, events, from_at, to_at, gap, sha256)
             select host_id, boot_id, id, 'ring_full', 72001, opened_at, opened_at, '{gap}', sha256(id::text::bytea)
             from copied"
        ),
    );
    let first = exporting.session(3, true);
    exporting.wait_for_end(first);
    let before = events_of(exporting.export(&checkpoint, &[]));
    let of = |id: &str| {
        before
            .iter()
            .filter(|event| event["vctl"]["session"]["id"] == id)
            .count()
    };
    assert_eq!((of(&first.to_string()), of(late)), (5, 0));
    held.commit();
    let after = events_of(exporting.export(&checkpoint, &[]));
    let ours = after
        .iter()
        .filter(|event| event["vctl"]["session"]["id"] == late);
    let mut actions: Vec<_> = ours
        .map(|event| event["event"]["action"].as_str().unwrap())
        .collect();
    actions.sort_unstable();
    let expected = ["events-missing", "session-closed", "session-opened"];
    assert_eq!(actions, expected);
    let repeated = after
        .iter()
        .filter(|event| event["vctl"]["session"]["id"] == first.to_string());
    assert_eq!(repeated.count(), 0);
    // Its removal lets other specs list this host.
    let sql = format!("delete from vctl.audit_session where id = '{late}'");
    exporting.centre.ask(&sql).unwrap();
}

#[test]
fn a_host_that_ships_hours_later_is_exported() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    // The clock of `Source` is behind, so these events are older than the first export.
    let old = exporting.session(20, true);
    let checkpoint = exporting.file("position");
    events_of(exporting.export(&checkpoint, &[]));
    let exporter = Exporter::begin(exporting.export(&checkpoint, &["--follow"]));
    let truth = exporting.source.sessions.clone();
    exporting.ship();
    exporting.wait_for_end(old);
    let stored = Instant::now();
    exporter.until("the late session is exported", |e| {
        ids_of(&e.lines(), &truth).contains(&format!("{old}-closed"))
    });
    // Polls are a second apart; this machine may be busy.
    assert!(stored.elapsed().as_secs() < 10, "{:?}", stored.elapsed());
    let lines = exporter.kill();
    let mut ids: Vec<_> = lines
        .iter()
        .map(id_of)
        .filter(|id| id.starts_with(&old.to_string()))
        .collect();
    ids.sort();
    assert_eq!(ids, super::all_ids(&truth));
}
