//! `vctl session --follow` shows every session once, in any commit order of the batches.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use vctl_common::id::SessionId;
use vctl_common::session::{CloseReason, JournalEntry, SessionClosed, SessionOpened, Stamp};
use vctl_common::time::{BootNs, wall_now};
use vctl_tests::centre::{Centre, Options, Secret};
use vctl_tests::lab::{PATIENCE, Programs, eventually};

use super::{Reading, opened};

/// A follower, and the lines that it has printed so far.
struct Follower {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Follower {
    fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = collected(child.stdout.take().unwrap());
        let said = collected(child.stderr.take().unwrap());
        Self { child, out, said }
    }

    fn lines(&self) -> Vec<Value> {
        let lines = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let json = |line: &String| serde_json::from_str(line).unwrap();
        lines.iter().map(json).collect()
    }

    /// Returns the types of the lines about a session.
    fn told(&self, id: SessionId) -> Vec<String> {
        let id = id.to_string();
        let lines = self.lines();
        let of_it = lines
            .iter()
            .filter(|line| line["session_id"] == *id || line["session"]["session_id"] == *id);
        of_it
            .map(|line| line["type"].as_str().unwrap().to_owned())
            .collect()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let held = eventually(PATIENCE, || Ok(holds(self)));
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(held.unwrap(), "{what}: {:?} {said:?}", self.lines());
    }

    fn until_said(&self, words: &str) {
        let held = eventually(PATIENCE, || {
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(said.iter().any(|line| line.contains(words)))
        });
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(held.unwrap(), "`{words}` is not in {said:?}");
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collected(from: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    });
    lines
}

const FOLLOW: [&str; 4] = ["session", "--follow", "-o", "jsonl"];

/// A session, and the SQL statement that stores it.
struct Stored {
    opened: SessionOpened,
    sql: String,
}

/// Returns a session of `host` that opened `before` ago, and that is closed at once if `ends`.
fn stored(host: &str, before: Duration, ends: bool) -> Stored {
    let opened = opened(None, BootNs(1_000_000_000));
    let at = wall_now() - before;
    let at = at.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let wall = at - 1_000_000_000;
    let (id, boot) = (opened.id, "6f3b4a52-21d4-4b0e-8a75-0d6a8c0f5e11");
    let time = format!("to_timestamp({at}::numeric / 1000000000)");
    let entry = JournalEntry::Opened(Box::new(opened.clone()));
    let entry = serde_json::to_string(&entry).unwrap();
    let closed = JournalEntry::Closed(SessionClosed {
        id,
        at: opened.opened_at,
        reason: CloseReason::LastProcessEnded,
        produced: Some(0),
        stored: 0,
        leader_ended_at: None,
        requested: None,
    });
    let closed = serde_json::to_string(&closed).unwrap();
    let end = if ends {
        format!("'{closed}', {wall}, {time}, 0")
    } else {
        "null, null, null, null".to_owned()
    };
    let sql = format!(
        "insert into vctl.audit_host (hostname) values ('{host}') on conflict do nothing; \
         insert into vctl.audit_session (id, host_id, boot_id, opened, opened_wall, opened_at, login_user, service, \
         closed, closed_wall, closed_at, produced) \
         select '{id}', id, '{boot}', '{entry}', {wall}, {time}, 'deploy', 'sshd', {end} \
         from vctl.audit_host where hostname = '{host}';"
    );
    Stored { opened, sql }
}

fn vctl(centre: &Centre, auditor: &Secret, args: &[&str]) -> Command {
    let mut command = Command::new(Programs::find().unwrap().vctl);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(centre.environment())
        .env("VAULT_TOKEN", auditor.expose());
    command
}

#[test]
fn every_short_session_is_followed_once() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let follower = Follower::begin(reading.command(&FOLLOW));
    // The follower does not show events from before its first look.
    follower.until("the first look is over", |f| {
        let said = f.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().any(|line| line.contains("waiting for")) || !f.lines().is_empty()
    });
    let first = reading.log_in(None);
    reading.exec(first.id, &[b"first"]);
    follower.until("the first session is shown", |f| {
        f.told(first.id).len() == 2
    });
    let mut ids = Vec::new();
    for nth in 0..6_u8 {
        let opened = reading.log_in(None);
        reading.exec(opened.id, &[b"short", &[b'0' + nth]]);
        reading.log_out(opened.id, 1);
        ids.push(opened.id);
    }
    reading.exec(first.id, &[b"second"]);
    reading.log_out(first.id, 2);
    follower.until("all are shown to their end", |f| {
        let is_closed = |id: &SessionId| f.told(*id).last().is_some_and(|last| last == "closed");
        ids.iter().all(is_closed) && is_closed(&first.id)
    });
    for id in &ids {
        assert_eq!(follower.told(*id), ["opened", "event", "closed"]);
    }
    assert_eq!(
        follower.told(first.id),
        ["opened", "event", "event", "closed"]
    );
    // The clock of these specs is minutes behind.
    let lines = follower.lines();
    let id = ids[0].to_string();
    let opened = lines
        .iter()
        .find(|line| line["session"]["session_id"] == *id);
    let opened = opened.unwrap();
    let late: u64 = opened["late_by_ns"].as_str().unwrap().parse().unwrap();
    assert!(late > 60_000_000_000, "{late}");
}

/// A map of the kernel was full when the login asked for its stamp. Later it was recorded, and then it got a late event.
#[test]
fn what_a_host_records_after_an_end_is_followed() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let follower = Follower::begin(reading.command(&FOLLOW));
    follower.until("the first look is over", |f| {
        let said = f.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().any(|line| line.contains("waiting for")) || !f.lines().is_empty()
    });
    let mut opened = reading.log_in(None);
    let id = opened.id;
    follower.until("the session is shown", |f| f.told(id) == ["opened"]);
    let name = id.to_string();
    let of_centre = Follower::begin(reading.command(&[&FOLLOW[..], &[&name]].concat()));
    let spool = reading.source.dir.to_str().unwrap();
    let local = [&FOLLOW[..], &["--local", "--spool", spool, &name]].concat();
    let of_spool = Follower::begin(reading.command(&local));
    for follower in [&of_centre, &of_spool] {
        follower.until("the session is shown", |f| f.told(id) == ["opened"]);
    }
    let never = SessionClosed {
        id,
        at: BootNs(reading.source.tick()),
        reason: CloseReason::NeverRecorded,
        produced: None,
        stored: 0,
        leader_ended_at: None,
        requested: None,
    };
    reading.record(&JournalEntry::Closed(never));
    for follower in [&follower, &of_centre, &of_spool] {
        follower.until("it is shown as not recorded", |f| {
            f.told(id) == ["opened", "closed"]
        });
    }
    opened.stamp = Stamp::Late;
    opened.marked_at = Some(BootNs(reading.source.tick()));
    reading.record(&JournalEntry::Opened(Box::new(opened)));
    reading.exec(id, &[b"recorded"]);
    reading.log_out(id, 1);
    let whole = ["opened", "closed", "opened", "event", "closed"];
    for follower in [&follower, &of_centre, &of_spool] {
        follower.until("it is shown again", |f| f.told(id) == whole);
    }
    for mut follower in [of_centre, of_spool] {
        assert!(follower.child.wait().unwrap().success());
    }
    reading.exec(id, &[b"late"]);
    let late = [&whole[..], &["event", "closed"]].concat();
    follower.until("a late event is shown", |f| f.told(id) == late);
}

#[test]
fn a_batch_that_commits_late_is_followed() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let auditor = centre.with_policies(&["vctl-auditor"]).unwrap();
    let filtered = [&FOLLOW[..], &["--host", "slow-"]].concat();
    let follower = Follower::begin(vctl(centre, auditor.token(), &filtered));
    follower.until_said("no matching session is open");
    let slow = stored("slow-1", Duration::ZERO, true);
    let other = stored("other-1", Duration::ZERO, true);
    centre.ask(&other.sql).unwrap();
    thread::scope(|scope| {
        // The first stored batch commits last: it waits for a table.
        let waits = format!(
            "/* slow */ begin; {} do $$ begin while not exists (select from pg_class where relname = 'slow_go') loop \
             perform pg_sleep(0.02); end loop; end $$; commit;",
            slow.sql
        );
        scope.spawn(move || centre.ask(&waits).unwrap());
        let is_stored = "select count(*) from pg_stat_activity where query like '/* slow */%' and \
                         backend_xid is not null and pid <> pg_backend_pid()";
        let began = eventually(PATIENCE, || Ok(centre.ask(is_stored)? == "1"));
        assert!(began.unwrap());
        for nth in 0..3 {
            let quick = stored("slow-2", Duration::from_secs(nth * 200), true);
            centre.ask(&quick.sql).unwrap();
            follower.until("a later batch is shown", |f| {
                f.told(quick.opened.id).len() == 2
            });
            let line = follower
                .lines()
                .into_iter()
                .rev()
                .find(|l| l["type"] == "opened");
            let late = line.unwrap()["late_by_ns"].clone();
            assert_eq!(late.is_null(), nth == 0, "{late}");
        }
        assert_eq!(follower.told(slow.opened.id), [""; 0]);
        centre.ask("create table public.slow_go ()").unwrap();
    });
    follower.until("the slow batch is shown", |f| {
        f.told(slow.opened.id).len() == 2
    });
    assert_eq!(follower.told(other.opened.id), [""; 0]);
    // Each line appears once, although the follower read the window again and again.
    let opened = follower
        .lines()
        .into_iter()
        .filter(|line| line["type"] == "opened");
    assert_eq!(opened.count(), 4);
    centre.ask("drop table public.slow_go").unwrap();
}

#[test]
fn a_restart_of_postgres_loses_and_repeats_nothing() {
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    let auditor = centre.with_policies(&["vctl-auditor"]).unwrap();
    let store = |ends| {
        let session = stored("web-1", Duration::ZERO, ends);
        centre.ask(&session.sql).unwrap();
        session.opened.id
    };
    let past = store(true);
    let open = store(false);
    let follower = Follower::begin(vctl(&centre, auditor.token(), &FOLLOW));
    follower.until("the open session is shown", |f| f.told(open) == ["opened"]);
    let before = store(true);
    follower.until("a session is shown", |f| {
        f.told(before) == ["opened", "closed"]
    });
    centre.postgres.kill().unwrap();
    follower.until_said("cannot be read");
    centre.postgres.start().unwrap();
    let after = store(true);
    follower.until("a session after it is shown", |f| {
        f.told(after) == ["opened", "closed"]
    });
    follower.until_said("can be read again");
    assert_eq!(follower.told(open), ["opened"]);
    assert_eq!(follower.told(before), ["opened", "closed"]);
    assert_eq!(follower.told(past), [""; 0]);
    let since = [&FOLLOW[..], &["--since", "1h"]].concat();
    let from_then = Follower::begin(vctl(&centre, auditor.token(), &since));
    from_then.until("the past is shown", |f| {
        f.told(past) == ["opened", "closed"]
    });
}
