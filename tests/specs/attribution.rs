//! A process cannot leave the session of its user, whatever it does.

use std::path::Path;
use std::process::Child;

use vctl_common::event::EventKind;
use vctl_tests::lab::{Certificate, Lab, Options, Recorded};

use vctl_tests::fixture::{
    Stage, assert_each_is_where_it_belongs, await_file, await_that, exec_of, identity, lab, touch,
};

/// Work of one user that tries to leave the session. Each line runs `$T`, which records its own exec.
const EVASIONS: &[&str] = &[
    "$T plain",
    "setsid $T new-session",
    "nohup $T no-hangup > nohup.$VCTL_CASE 2>&1 < /dev/null",
    "( ( $T double-fork & ) & )",
    "setsid sh -c \"sleep 0.1; $T orphan\" > /dev/null 2>&1 < /dev/null &",
    "$AS_ROOT $T by-sudo",
    "$AS_ROOT su -c \"$T by-su\"",
    "$AS_ROOT runuser -u $(id -un) -- $T by-runuser",
    "$AS_ROOT unshare --user --map-root-user $T user-namespace",
    "$AS_ROOT unshare --pid --fork $T pid-namespace",
    "$AS_ROOT unshare --mount --uts --ipc --net $T four-namespaces",
    "$AS_ROOT sh -c \"echo 0 > /proc/self/loginuid; $T login-uid-reset\"",
    "$ODD memfd $T from-memory",
    "$ODD deleted $T from-a-deleted-file",
    "$ODD thread $T from-a-thread",
    "$ODD spawn $T by-posix-spawn",
    "env -i VCTL_TRUTH=$VCTL_TRUTH VCTL_CASE=$VCTL_CASE $T empty-environment",
    "timeout 600 $T under-timeout",
    "echo x | xargs -n1 $T under-xargs",
    "find . -maxdepth 0 -exec $T under-find ';'",
    "tmux -f /dev/null -L $VCTL_CASE new-session -d \"$T in-tmux\"",
    "screen -dmS $VCTL_CASE $T in-screen",
    "bash -c 'exec -a harmless '$T' renamed'",
];

#[test]
fn concurrent_sessions_never_share_events() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let work = EVASIONS.join("\n");
    let people: Vec<_> = (1..=8)
        .map(|serial| {
            lab.certificate(&format!("person-{serial}"), serial)
                .unwrap()
        })
        .collect();
    let logins: Vec<_> = people
        .iter()
        .map(|who| stage.start(&lab, who, &work))
        .collect();
    for login in logins {
        let output = login.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let sessions: Vec<_> = people
        .iter()
        .map(|who| (who.key_id.as_str(), vec![lab.whole_session(who).unwrap()]))
        .collect();
    let truths = stage.running();
    // Without this check a load that did nothing would pass.
    assert_eq!(truths.len(), people.len() * EVASIONS.len(), "{truths:#?}");
    assert_each_is_where_it_belongs(&truths, &sessions);
}

#[test]
fn a_move_into_another_cgroup_changes_no_owner() {
    let Some(lab) = Lab::or_skip(&Options {
        cgroup_per_login: true,
        ..Options::default()
    }) else {
        return;
    };
    let stage = Stage::set(&lab);
    let [victim, mover] = [("victim", 1), ("mover", 2)]
        .map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let victims = log_in_until_close(
        &lab,
        &stage,
        &victim,
        "sed -n 's/^0:://p' /proc/self/cgroup > cgroup",
    );
    let theirs = std::fs::read_to_string(lab.home().join("cgroup")).unwrap();
    let procs = format!(
        "{}{}/cgroup.procs",
        lab.cgroups().unwrap().display(),
        theirs.trim()
    );
    stage.run(
        &lab,
        &mover,
        &format!("$AS_ROOT sh -c 'echo $$ > {procs}; '$T' moved'"),
    );
    close(&lab, victims);
    let sessions =
        [&victim, &mover].map(|who| (who.key_id.as_str(), vec![lab.whole_session(who).unwrap()]));
    let truths = stage.running();
    assert_each_is_where_it_belongs(&truths, &sessions);
    let [(_, victims), (_, movers)] = &sessions;
    let moves = movers[0]
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::CgroupMove(moved) => Some(moved.to),
            _ => None,
        });
    let victims_cgroup = victims[0].session.opened.cgroup.unwrap();
    assert!(
        moves.into_iter().any(|to| to == victims_cgroup),
        "{:#?}",
        movers[0].summary()
    );
    let moved = truths
        .iter()
        .find(|truth| truth.argv.contains(&b"moved".to_vec()))
        .unwrap();
    assert!(exec_of(&movers[0], moved).unwrap().1.other_cgroup);
}

#[test]
fn a_reset_login_uid_changes_no_owner_and_shows() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 4).unwrap();
    stage.run(
        &lab,
        &who,
        "$AS_ROOT sh -c \"echo 0 > /proc/self/loginuid; $T reset\"",
    );
    let session = lab.whole_session(&who).unwrap();
    let truth = &stage.running()[0];
    let (_, exec) = exec_of(&session, truth).unwrap();
    assert_eq!((exec.login_uid, truth.login_uid), (Some(0), 0));
    assert!(exec.other_audit_session);
}

#[test]
fn work_goes_on_in_its_session_after_the_login_has_ended() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 5).unwrap();
    stage.run(
        &lab,
        &who,
        "setsid sh -c \"while [ ! -e go ]; do sleep 0.1; done; $T late\" > /dev/null 2>&1 < /dev/null &",
    );
    let mut session = None;
    await_that("the login has ended", || {
        session = lab.sessions_of(&who).unwrap().pop();
        session.as_ref().is_some_and(|session| {
            let leader = session.session.opened.leader.tgid;
            session
                .exits()
                .any(|(event, _)| event.process.tgid == leader)
        })
    });
    assert_eq!(session.unwrap().session.closed, None, "closed too early");
    touch(&lab.home().join("go"));
    let session = lab.whole_session(&who).unwrap();
    assert!(exec_of(&session, &stage.running()[0]).is_some());
    let closed = session.session.closed.as_ref().unwrap();
    assert!(closed.leader_ended_at.unwrap() < closed.at);
}

#[test]
fn a_reused_pid_is_a_new_process() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    lab.set_kernel(Path::new("/proc/sys/kernel/pid_max"), "2000")
        .unwrap();
    let people =
        [("alice", 1), ("bob", 2)].map(|(key_id, serial)| lab.certificate(key_id, serial).unwrap());
    let body = "for i in $(seq 1500); do $T; done";
    let logins = people.each_ref().map(|who| stage.start(&lab, who, body));
    for login in logins {
        assert!(login.wait_with_output().unwrap().status.success());
    }
    let sessions = people
        .each_ref()
        .map(|who| (who.key_id.as_str(), vec![lab.whole_session(who).unwrap()]));
    let truths = stage.running();
    assert_eq!(truths.len(), 3000);
    let pids: std::collections::BTreeSet<_> = truths.iter().map(|truth| truth.pid).collect();
    assert!(
        pids.len() < truths.len(),
        "no pid was used twice: the spec proves nothing"
    );
    assert_each_is_where_it_belongs_quickly(&truths, &sessions);
}

/// Does the same as the fixture's function for thousands of processes: it uses a map instead of a search.
fn assert_each_is_where_it_belongs_quickly(
    truths: &[vctl_tests::truth::Running],
    sessions: &[(&str, Vec<Recorded>)],
) {
    for (key_id, recorded) in sessions {
        let shown: std::collections::BTreeSet<_> = recorded
            .iter()
            .flat_map(Recorded::execs)
            .map(|(event, _)| identity(event.process))
            .collect();
        for truth in truths {
            let wanted = *key_id == truth.case;
            assert_eq!(
                shown.contains(&(truth.pid, truth.start)),
                wanted,
                "{truth:?} in {key_id}"
            );
        }
    }
}

/// Logs in, runs `body` and stays until `close` is called.
fn log_in_until_close(lab: &Lab, stage: &Stage, who: &Certificate, body: &str) -> Child {
    let home = lab.home();
    let wait = "touch inside; while [ ! -e leave ]; do sleep 0.1; done";
    let child = stage.start(lab, who, &format!("{body}\n{wait}"));
    await_file(&home.join("inside"));
    child
}

fn close(lab: &Lab, child: Child) {
    touch(&lab.home().join("leave"));
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn an_agent_records_only_its_own_sessions() {
    let (Some(one), Some(other)) = (lab(), lab()) else {
        return;
    };
    let (alice, bob) = (
        one.certificate("alice", 1).unwrap(),
        other.certificate("bob", 2).unwrap(),
    );
    one.ssh_ok(&alice, "true alice").unwrap();
    other.ssh_ok(&bob, "true bob").unwrap();
    one.whole_session(&alice).unwrap();
    other.whole_session(&bob).unwrap();
    for (lab, who) in [(&one, &alice), (&other, &bob)] {
        let all = lab.sessions().unwrap();
        assert_eq!(
            all.len(),
            1,
            "{:#?}",
            all.iter().map(Recorded::summary).collect::<Vec<_>>()
        );
        assert_eq!(
            all[0]
                .session
                .opened
                .auth
                .certificate
                .as_ref()
                .unwrap()
                .key_id,
            who.key_id
        );
    }
}
