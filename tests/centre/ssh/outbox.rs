//! Accesses that were stored on the workstation reach the database that they belong to, and no other.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;
use vctl_tests::lab::{PATIENCE, eventually};

use super::files::said;
use super::{Operator, shared};
use crate::login::Said;

/// A user whose accesses are stored on the workstation, as in an outage.
struct Outage<'a> {
    operator: Operator<'a>,
    name: String,
    at: String,
    port: u16,
}

impl Outage<'_> {
    fn new(name: &str) -> Option<Self> {
        let centre = shared()?;
        let operator = Operator::new(centre, name);
        let host = centre.host.as_ref().unwrap();
        let name = format!("[127.0.0.1]:{}", host.port());
        operator.remembers(&format!("{name} {}\n", host.public_key()));
        Some(Self {
            at: format!("{}@127.0.0.1:{}", host.user(), host.port()),
            port: centre.postgres.port,
            operator,
            name,
        })
    }

    /// Stores an access for the database at port 1, which does not listen.
    fn store(&self, script: &str) {
        let usual = format!(":{}/", self.port);
        let grants = self.operator.at.home(".vctl/grants.json");
        let text = fs::read_to_string(&grants).unwrap();
        fs::write(&grants, text.replace(&usual, ":1/")).unwrap();
        let mut command = self.operator.command(&[&self.at, "--", script]);
        command.env("VCTL_DB_PORT", "1");
        said(&mut command);
        fs::write(&grants, text).unwrap();
    }

    fn stored(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.operator.at.home(".vctl/spool"));
        let paths = entries.into_iter().flatten();
        let paths = paths.map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
        paths.sort();
        paths
    }

    /// Changes the origin of the stored accesses to the usual database.
    fn move_here(&self) {
        for path in self.stored() {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace(":1/", &format!(":{}/", self.port))).unwrap();
        }
    }

    /// Exit codes of the rows that were sent later.
    fn sent(&self) -> Vec<Value> {
        let mut rows = self.operator.accesses(&self.name);
        rows.retain(|row| row["replayed"] == true);
        rows.iter().map(|row| row["exit_code"].clone()).collect()
    }
}

#[test]
fn a_stored_access_waits_for_its_own_database() {
    let Some(outage) = Outage::new("outbox-origin") else {
        return;
    };
    // Of one batch: each end belongs to its own beginning.
    outage.store("exit 3");
    outage.store("exit 4");
    assert_eq!(outage.stored().len(), 2);
    let run = || outage.operator.ssh(&[&outage.at, "--", "true"]);
    assert_eq!(run().code, 0);
    assert_eq!((outage.stored().len(), outage.sent()), (2, vec![]));
    outage.move_here();
    assert_eq!(run().code, 0);
    let mut sent = outage.sent();
    sent.sort_by_key(Value::as_i64);
    assert_eq!((outage.stored().len(), sent), (0, vec![3.into(), 4.into()]));
}

#[test]
fn a_refused_stored_access_holds_up_no_other() {
    let Some(outage) = Outage::new("outbox-refused") else {
        return;
    };
    for script in ["exit 3", "exit 4", "exit 5"] {
        outage.store(script);
    }
    outage.move_here();
    let stored = outage.stored();
    assert_eq!(stored.len(), 3);
    // Postgres refuses a time of more than a year ago. The second file is of a program that vctl does not know.
    let text = fs::read_to_string(&stored[0]).unwrap();
    let (before, year) = text.split_once("\"at\":\"").unwrap();
    fs::write(&stored[0], format!("{before}\"at\":\"2001{}", &year[4..])).unwrap();
    fs::write(&stored[1], "{\"other\":1}\n").unwrap();
    let run = outage.operator.ssh(&[&outage.at, "--", "true"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!((outage.stored().len(), outage.sent()), (0, vec![5.into()]));
    let refused = outage.operator.at.home(".vctl/spool/refused");
    assert_eq!(fs::read_dir(&refused).unwrap().count(), 2);
    assert!(run.stderr.contains("spool/refused"), "{run:?}");
    assert!(run.stderr.contains("opened_at"), "{run:?}");
}

#[test]
fn an_end_after_a_logout_is_recorded_later() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "outbox-logout");
    let host = centre.host.as_ref().unwrap();
    for name in ["outbox-logout-1", "outbox-logout-2"] {
        operator.knows(name, host);
    }
    let mut session = operator.start(&["outbox-logout-1", "--", "read line; exit 7"]);
    // Longer than the session keeps its connection.
    let connections = "select count(*) from pg_stat_activity where usename like 'audit-wr/userpass-outbox-logout~%'";
    let is_alone = || {
        let rows = operator.accesses("outbox-logout-1");
        Ok(rows.len() == 1 && centre.ask(connections)? == "0")
    };
    assert!(eventually(PATIENCE, is_alone).unwrap());
    assert_eq!(operator.at.run(&["logout"]).code, 0);
    session.stdin.take().unwrap().write_all(b"\n").unwrap();
    let session: Said = session.wait_with_output().unwrap().into();
    assert_eq!((session.code, &*session.stderr), (7, ""), "{session:?}");
    let first = || operator.accesses("outbox-logout-1").remove(0);
    assert!(first()["closed_at"].is_null(), "{:#}", first());
    operator.log_in_again();
    let next = operator.ssh(&["outbox-logout-2", "--", "true"]);
    assert_eq!((next.code, &*next.stderr), (0, ""), "{next:?}");
    assert!(!first()["closed_at"].is_null(), "{:#}", first());
    assert_eq!(first()["exit_code"], 7, "{:#}", first());
}

#[test]
fn a_server_that_refuses_for_a_while_gets_the_access_later() {
    let Some(outage) = Outage::new("outbox-state") else {
        return;
    };
    outage.store("exit 3");
    outage.move_here();
    let ask = |sql: &str| shared().unwrap().ask(sql).unwrap();
    let name = &outage.name;
    ask(&format!(
        "create function public.refuse_outbox_state() returns trigger language plpgsql as \
             'begin raise exception ''not now'' using errcode = ''55000''; end'; \
         create trigger refuse_outbox_state before insert or update on vctl.access_log for each row \
             when (new.replayed and new.hostname = '{name}') execute function public.refuse_outbox_state()"
    ));
    let run = || outage.operator.ssh(&[&outage.at, "--", "true"]);
    let first = run();
    let waits = (first.code, outage.stored().len(), outage.sent());
    ask(
        "drop trigger refuse_outbox_state on vctl.access_log; drop function public.refuse_outbox_state()",
    );
    assert_eq!(waits, (0, 1, vec![]), "{first:?}");
    assert_eq!(run().code, 0);
    assert_eq!((outage.stored().len(), outage.sent()), (0, vec![3.into()]));
}
