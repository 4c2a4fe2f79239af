//! Processes that fork and exit all the time: each look at a process comes too late, and the session goes on.

use std::fs;

use vctl_agent::probe::Maps;
use vctl_common::event::EventKind;
use vctl_common::status;
use vctl_tests::lab::{Lab, Recorded};

use vctl_tests::fixture::{
    FREE_PIDS, Stage, UNUSED_MARK, await_file, await_that, exec_of, lab, touch,
};

/// A chain of processes: each forks the next one and exits. It ends when the file `go-on` is gone, at the latest five
/// minutes after its begin. Then its last process executes `$T`.
const CHAIN: &str = "cat > chain.pl <<'END'\n\
    $SIG{HUP} = $SIG{TERM} = 'IGNORE'; my $n = 0;\n\
    while (++$n && time < $^T + 300 && -e 'go-on') { exit if fork; $n % 64 or do { open my $f, '>>', 'beat'; print $f '.' } }\n\
    exec $ARGV[0], 'last';\n\
    END\n";

/// Waits until the chain has gone on for a while.
fn await_forks(lab: &Lab) {
    let beat = lab.home().join("beat");
    let len = || fs::metadata(&beat).map_or(0, |meta| meta.len());
    let before = len();
    await_that("the chain goes on", || len() > before + 5);
}

#[test]
fn a_fork_chain_keeps_its_late_session_open_and_named() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    // Stamped late, so the kernel knows the number of its processes only roughly.
    lab.agent.kill().unwrap();
    let body = format!(
        "{CHAIN}touch go-on inside; while [ ! -e go ]; do sleep 0.1; done\n\
         perl chain.pl $T < /dev/null > /dev/null 2>&1 &"
    );
    let login = stage.start(&lab, &who, &body);
    await_file(&lab.home().join("inside"));
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    touch(&lab.home().join("go"));
    assert!(login.wait_with_output().unwrap().status.success());
    let the_one = || -> Recorded {
        let mut sessions = lab.sessions().unwrap();
        assert_eq!(sessions.len(), 1, "{sessions:#?}");
        sessions.remove(0)
    };
    await_that("only the chain is left", || {
        the_one().session.opened.leader.tgid > 0 && !is_there(the_one().session.opened.leader.tgid)
    });
    // Longer than the interval in which the agent looks for sessions that have ended.
    let looked_at = || status::read(&lab.root().join("run")).unwrap().written_at;
    // The list of all marks takes longer than the life of a process of the chain.
    let mut maps = Maps::pinned(&lab.pins()).unwrap();
    for _ in 0..2 {
        for tgid in FREE_PIDS.take(30_000) {
            maps.mark_task(tgid, UNUSED_MARK).unwrap();
        }
        let before = looked_at();
        await_that("the agent has looked for ended sessions", || {
            await_forks(&lab);
            looked_at() != before
        });
    }
    let during = the_one();
    assert_eq!(during.session.closed, None, "{:#?}", during.summary());
    fs::remove_file(lab.home().join("go-on")).unwrap();
    await_that("its last process has run", || !stage.running().is_empty());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    let last = stage.running().remove(0);
    assert!(
        exec_of(&session, &last).is_some(),
        "{:#?}",
        session.summary()
    );
    let ends = session.events.iter();
    let ends = ends.filter(|event| matches!(event.kind, EventKind::Exit(_)));
    assert!(ends.count() > 300, "{:#?}", session.summary());
    the_one();
}

#[test]
fn a_fork_chain_does_not_escape_a_late_stamp() {
    const CHAINS: usize = 3;
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.kill().unwrap();
    let body = format!(
        "{CHAIN}touch go-on; for chain in $(seq {CHAINS}); do perl chain.pl $T < /dev/null > /dev/null 2>&1 & done\n\
         while [ -e go-on ]; do sleep 0.1; done; while [ ! -e leave ]; do sleep 0.1; done"
    );
    let login = stage.start(&lab, &who, &body);
    await_file(&lab.home().join("beat"));
    await_forks(&lab);
    lab.agent.start().unwrap();
    await_that("the agent has read the marker", || {
        lab.markers().unwrap() == 0
    });
    await_forks(&lab);
    fs::remove_file(lab.home().join("go-on")).unwrap();
    await_that("the last process of each chain has run", || {
        stage.running().len() == CHAINS
    });
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    let last = stage.running();
    let last = last.iter();
    let recorded = last.filter(|last| exec_of(&session, last).is_some());
    assert_eq!(recorded.count(), CHAINS, "{:#?}", session.summary());
}

fn is_there(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap()
}
