//! `vctl session end` ends every process of one session, and no other process.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use vctl_common::id::SessionId;
use vctl_common::wire::{MARKED_LINEAGE, ROLE_USER, TaskMark};
use vctl_tests::centre::Centre;
use vctl_tests::fixture::{FLOOD, FREE_PIDS, UNUSED_MARK};
use vctl_tests::lab::{Options, PATIENCE, eventually};
use vctl_tests::terminal::Terminal;

use super::sshd_list::Unanswered;
use super::{LiveHost, is_running, said, vctl_command};
use crate::fixture::programs;

/// A daemon with two forks, and a process that ignores all signals that can be ignored.
const WORK: &str = "(setsid sh -c 'echo $$ > daemon; exec sleep 1000' >/dev/null 2>&1 &) \n\
    sh -c 'trap \"\" HUP TERM; echo $$ > stubborn; while :; do sleep 0.2; done' & \n\
    sleep 1000 & echo $! > job; touch alice-inside; wait";

#[test]
fn ending_a_session_ends_all_its_processes_and_no_other() {
    let Some(host) = LiveHost::start("live-end", Options::default()) else {
        return;
    };
    let mut alice = host.log_in("alice", 61, WORK);
    let bob = host.log_in(
        "bob",
        62,
        "echo $$ > bob; touch bob-inside; exec sleep 1000",
    );
    let of_alice = ["daemon", "stubborn", "job"].map(|name| host.pid(name));
    let uid = fs::metadata(host.lab.home()).unwrap().uid();
    // A process of the same account that is in no session.
    let mut outside = Command::new("/bin/sleep")
        .arg("1000")
        .uid(uid)
        .spawn()
        .unwrap();

    let output = host.end(&alice.id, &["--reason", "INC-42"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("is over: "), "{}", said(&output));
    assert!(said(&output).contains("killed"), "{}", said(&output));
    for pid in of_alice {
        assert!(!is_running(pid), "{pid} is left");
    }
    // sshd closed the connection.
    assert!(!alice.client.wait().unwrap().success());
    assert!(is_running(host.pid("bob")), "the other session ended too");
    assert_eq!(
        outside.try_wait().unwrap(),
        None,
        "a process of no session ended"
    );
    outside.kill().unwrap();
    outside.wait().unwrap();

    let row = format!(
        "select requested_by, reason, result, killed > 0, taken_at is not null from vctl.session_end_request \
         where session_id = '{}'",
        alice.id
    );
    let expected = format!("{}|INC-42|ended|t|t", host.responder_name);
    assert_eq!(host.centre.ask(&row).unwrap(), expected);
    let closed = format!(
        "select closed is not null from vctl.audit_session where id = '{}'",
        alice.id
    );
    let arrived = eventually(PATIENCE, || Ok(host.centre.ask(&closed)? == "t"));
    assert!(arrived.unwrap());
    let shown = host.vctl(&host.auditor, &["session", &alice.id]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let by = format!("ended on request of {}: INC-42", host.responder_name);
    assert!(shown.contains(&by), "{shown}");
    let again = host.end(&alice.id, &[]);
    assert!(
        again.status.success() && said(&again).contains("has ended already"),
        "{}",
        said(&again)
    );
    bob.hang_up();
}

/// Processes that fork and exit all the time, so that a listed process has always ended. The chain ends when the file
/// `go-on` is gone, at the latest after five minutes.
const CHAIN: &str = "touch go-on; perl -e '\
        $SIG{HUP} = $SIG{TERM} = \"IGNORE\"; my $n = 0;\
        while (++$n && time < $^T + 300 && -e \"go-on\") {\
            exit if fork; $n % 64 or do { open my $f, \">>\", \"beat\"; print $f \".\" } }' \
        < /dev/null > /dev/null 2>&1 &\n\
    touch fay-inside; exec sleep 1000";

#[test]
fn a_fork_chain_has_ended_or_is_reported_as_remaining() {
    let Some(host) = LiveHost::start("live-chain", Options::default()) else {
        return;
    };
    let mut fay = host.log_in("fay", 68, CHAIN);
    let beats = || fs::metadata(host.lab.home().join("beat")).map_or(0, |meta| meta.len());
    let goes_on = |before, within| eventually(within, || Ok(beats() > before + 1)).unwrap();
    assert!(goes_on(0, PATIENCE), "the chain does not run");
    // The list of all marks takes longer than the life of a process of the chain.
    let mut maps = host.marks();
    for tgid in FREE_PIDS.take(30_000) {
        maps.mark_task(tgid, UNUSED_MARK).unwrap();
    }
    let output = host.end(&fay.id, &[]);
    let is_left = goes_on(beats(), Duration::from_secs(15));
    fs::remove_file(host.lab.home().join("go-on")).unwrap();
    assert!(!fay.client.wait().unwrap().success());
    let expected = if is_left { Some(1) } else { Some(0) };
    assert_eq!(output.status.code(), expected, "{}", said(&output));
    let closed = format!(
        "select count(*) = 1 and bool_and(closed is not null) from vctl.audit_session s \
         join vctl.audit_host h on h.id = s.host_id where h.hostname = '{}'",
        host.identity.name
    );
    let is_over = eventually(PATIENCE, || Ok(host.centre.ask(&closed)? == "t"));
    assert!(
        is_over.unwrap(),
        "the session has no end, or there is another one"
    );
}

#[test]
fn a_reused_pid_is_not_signalled() {
    let Some(host) = LiveHost::start("live-reuse", Options::default()) else {
        return;
    };
    let carol = host.log_in("carol", 63, "touch carol-inside; exec sleep 1000");
    let mut victim = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    // The state after a lost exit: a mark of the session at a pid that has another process now.
    let mut maps = host.marks();
    let session: SessionId = carol.id.parse().unwrap();
    let stale = TaskMark {
        session: session.mark(),
        start: 1,
        marked: MARKED_LINEAGE,
        noted_exec: 0,
        role: ROLE_USER,
        groups: 0,
    };
    maps.mark_task(victim.id(), stale).unwrap();
    let output = host.end(&carol.id, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("is over: "), "{}", said(&output));
    assert_eq!(
        victim.try_wait().unwrap(),
        None,
        "the process with the reused pid ended"
    );
    victim.kill().unwrap();
    victim.wait().unwrap();
    carol.hang_up();
}

#[test]
fn a_session_that_floods_the_record_is_ended() {
    let Some(host) = LiveHost::start("live-flood", Options::default()) else {
        return;
    };
    let script = format!("echo $$ > frank; touch frank-inside; {FLOOD}");
    let mut frank = host.log_in("frank", 67, &script);
    let maps = host.marks();
    let is_full = || Ok(maps.host_counters().ring_full > 0);
    assert!(eventually(PATIENCE, is_full).unwrap());
    let output = host.end(&frank.id, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("is over: "), "{}", said(&output));
    // The flood did not end by itself.
    assert!(host.lab.home().join("flood-on").exists());
    assert!(!frank.client.wait().unwrap().success());
}

#[test]
fn a_host_that_is_configured_to_refuse_ends_nothing() {
    let options = Options {
        agent: vec![("end_sessions", "false".to_owned())],
        ..Options::default()
    };
    let Some(host) = LiveHost::start("live-refuse", options) else {
        return;
    };
    let dave = host.log_in(
        "dave",
        64,
        "echo $$ > dave; touch dave-inside; exec sleep 1000",
    );
    let output = host.end(&dave.id, &[]);
    assert_eq!(output.status.code(), Some(77), "{}", said(&output));
    assert!(
        said(&output).contains("refuses to end sessions"),
        "{}",
        said(&output)
    );
    assert!(is_running(host.pid("dave")));
    dave.hang_up();
}

#[test]
fn a_host_that_does_not_answer_is_stated_with_the_request() {
    let Some(mut host) = LiveHost::start("live-silent", Options::default()) else {
        return;
    };
    let erin = host.log_in(
        "erin",
        65,
        "echo $$ > erin; touch erin-inside; exec sleep 1000",
    );
    host.lab.agent.kill().unwrap();
    let output = host.end(&erin.id, &["--wait", "2s"]);
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    assert!(
        said(&output).contains("the request stays for a day"),
        "{}",
        said(&output)
    );
    assert!(is_running(host.pid("erin")));
    // The next agent takes the request.
    host.lab.agent.start().unwrap();
    let again = host.end(&erin.id, &[]);
    assert!(again.status.success(), "{}", said(&again));
    let requests = format!(
        "select count(*) from vctl.session_end_request where session_id = '{}'",
        erin.id
    );
    assert_eq!(host.centre.ask(&requests).unwrap(), "1");
    assert!(!is_running(host.pid("erin")));
    erin.hang_up();
}

#[test]
fn a_restarted_agent_finishes_an_end() {
    let Some(mut host) = LiveHost::start("live-restart", Options::default()) else {
        return;
    };
    // Ignores SIGTERM, so the first agent is killed before its SIGKILL. A program of the trap would get a signal too, and
    // after the connection a message about `sleep` would end the shell.
    let script = "exec 2> /dev/null; trap ': > asked' HUP TERM; echo $$ > grace; touch grace-inside; while :; do sleep 0.2; done";
    let grace = host.log_in("grace", 67, script);
    let asked = host.lab.home().join("asked");
    let request = ["session", "end", &grace.id, "--yes", "--wait", "1s"];
    let mut first = host
        .vctl_command(&host.responder, &request)
        .spawn()
        .unwrap();
    assert!(eventually(PATIENCE, || Ok(asked.exists())).unwrap());
    host.lab.agent.kill().unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(69));
    assert!(is_running(host.pid("grace")));
    host.lab.agent.start().unwrap();
    let output = host.end(&grace.id, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!is_running(host.pid("grace")));
    grace.hang_up();
}

#[test]
fn without_a_terminal_a_confirmation_is_needed() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let responder = centre.with_policies(&["vctl-session-end"]).unwrap();
    let auditor = centre.with_policies(&["vctl-auditor"]).unwrap();
    let long = "x".repeat(501);
    let asked = ["session", "end", "0193f3a1-7c4e"];
    let confirmed = [&asked[..], &["--yes"]].concat();
    let too_long = [&confirmed[..], &["--reason", &long]].concat();
    for (client, arguments, status) in [
        (&responder, &asked[..], 2),
        (&responder, &confirmed, 66),
        (&responder, &too_long, 2),
        (&auditor, &confirmed, 77),
    ] {
        let output = vctl_command(centre, client, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", said(&output));
    }
}

#[test]
fn a_question_may_last_longer_than_a_connection() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let _open = Unanswered::insert(centre, "end-question", "userpass-asked", 1);
    let session = "select s.id from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id \
                   where h.hostname = 'end-question'";
    let session = centre.ask(session).unwrap();
    let responder = centre.person("asker", &["vctl-session-end"]).unwrap();
    let arguments = ["session", "end", &session, "--wait", "1s"];
    let command = vctl_command(centre, &responder, &arguments);
    let mut terminal = Terminal::start(command, 200).unwrap();
    terminal.wait_for("[y/N]").unwrap();
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
               where usename like '%/userpass-asker~%'";
    assert_eq!(centre.ask(end).unwrap(), "1");
    terminal.type_in("y\n").unwrap();
    let ended = terminal.end().unwrap();
    // The host never answers.
    assert_eq!(ended.code(), Some(69), "{}", terminal.shown());
}

#[test]
fn a_request_that_fails_has_its_own_exit_status() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "live_end_refused";
    centre.create_database_with_schema(db).unwrap();
    let rows = "insert into vctl.audit_host (hostname) values ('end-refused'); \
                insert into vctl.audit_session (id, host_id, boot_id, opened, opened_at, login_user, vault_user) \
                select '0193f3a1-7c4e-7000-8000-000000000001', h.id, gen_random_uuid(), '{}', now(), 'ubuntu', \
                    'userpass-refused' from vctl.audit_host h; \
                revoke execute on function vctl.request_session_end_v1(text, uuid, text) from vctl_session_end";
    centre.postgres.psql(db, rows).unwrap();
    let responder = centre.person("requester", &["vctl-session-end"]).unwrap();
    let arguments = ["session", "end", "0193f3a1", "--yes"];
    let output = programs::vctl(centre, &responder, db, &arguments).output();
    let output = output.unwrap();
    // Status 1 would mean that processes of the session are left.
    assert_eq!(output.status.code(), Some(77), "{}", said(&output));
    let stated = said(&output);
    assert!(stated.contains("cannot be requested"), "{stated}");
}
