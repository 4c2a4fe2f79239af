//! An agent that dies while a login waits for its stamp does not delay a login.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use vctl_agent::probe::Maps;
use vctl_common::session::{CloseReason, Stamp};
use vctl_common::time::BootNs;
use vctl_common::wire::SessionCounters;
use vctl_tests::lab::{Certificate, Lab, Recorded, process};

use vctl_tests::fixture::{
    Stage, assert_each_is_where_it_belongs, await_file, await_that, exec_of, lab, touch,
};

/// The hook delays a login for at most two seconds from its start. When the machine needs longer than this for the rest
/// of a round, the round proves nothing and is repeated.
const FAST_ENOUGH: Duration = Duration::from_secs(1);

#[test]
fn kill_9_at_any_system_call_of_a_stamp_makes_no_login_late() {
    let Some(mut lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let mut sessions = Vec::new();
    let (mut serial, mut calls, mut answered) = (0, 0, 0);
    // Some system calls after the answer, when the agent has no more work for the login.
    while answered < 5 {
        serial += 1;
        assert!(
            serial < 400,
            "at call {calls}, no agent has sent its answer"
        );
        let who = lab.certificate(&format!("p{serial}"), serial).unwrap();
        let Round {
            login,
            was_answered,
            ready_at,
        } = Round::of(&mut lab, &stage, &who, calls);
        let output = login.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
        if ready_at.since(session.session.opened.opened_at) > FAST_ENOUGH {
            continue;
        }
        whole_and_in_time(&session, calls);
        sessions.push((who.key_id, vec![session]));
        calls += 1;
        answered += usize::from(was_answered);
    }
    let sessions: Vec<_> = sessions
        .iter()
        .map(|(key_id, recorded)| (key_id.as_str(), recorded.clone()))
        .collect();
    let mut truths = stage.running();
    truths.retain(|truth| sessions.iter().any(|(key_id, _)| *key_id == truth.case));
    assert_eq!(truths.len(), sessions.len());
    assert_each_is_where_it_belongs(&truths, &sessions);
    // Killed before the journal entry, between journal and kernel, and between kernel and answer.
    let log = std::fs::read_to_string(&lab.agent.log).unwrap();
    let said = |what: &str| log.matches(what).count();
    let (in_the_journal, stamped) = (
        said("A login asked again that is in the journal only."),
        said("A login asked again that is stamped."),
    );
    assert!(
        in_the_journal > 0 && stamped > 0 && in_the_journal + stamped < sessions.len() - 5,
        "{in_the_journal} and {stamped} of {}: the spec does not prove all its cases",
        sessions.len()
    );
}

#[test]
fn a_stamp_past_its_deadline_makes_no_complete_session() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let mut late = Vec::new();
    // From the entry in the journal on: write to the disk, session and mark in the kernel, answer. The number of calls until
    // the mark depends on the kernel.
    for calls in 0..32 {
        let name = format!("p{calls}");
        let who = lab.certificate(&name, calls + 1).unwrap();
        let agent = Stepped::stop(lab.agent.pid().unwrap());
        let body = format!("touch {name}; while [ ! -e go-{name} ]; do sleep 0.1; done; $T");
        let login = stage.start(&lab, &who, &body);
        agent.to_the_journal(&lab, &who);
        for _ in 0..calls {
            agent.next_call();
        }
        // sshd accepted the login without an answer, after the two seconds.
        await_file(&lab.home().join(&name));
        agent.let_go();
        await_that("the agent has read the marker", || {
            lab.markers().unwrap() == 0
        });
        let opened = lab.sessions_of(&who).unwrap().remove(0).session.opened;
        touch(&lab.home().join(format!("go-{name}")));
        assert!(login.wait_with_output().unwrap().status.success());
        late.push((who, opened.stamp != Stamp::InTime));
        if late.iter().filter(|(_, late)| !late).count() == 2 {
            break;
        }
    }
    for (who, late) in &late {
        let session = lab.closed_sessions(who, 1).unwrap().remove(0);
        let truths = stage.running();
        let truth = truths.iter().find(|truth| truth.case == who.key_id);
        let summary = session.summary();
        assert!(exec_of(&session, truth.unwrap()).is_some(), "{summary:#?}");
        assert!(*late || session.ensure_whole().is_ok(), "{summary:#?}");
    }
    let late: Vec<_> = late.iter().map(|(_, late)| *late).collect();
    assert!(late.contains(&true) && late.contains(&false), "{late:?}");
}

#[test]
fn a_session_without_agent_and_hook_is_incomplete() {
    let Some(mut lab) = lab() else { return };
    let mut serial = 0;
    let who = loop {
        serial += 1;
        assert!(serial < 20, "no hook was left to kill");
        let who = lab.certificate("alice", serial).unwrap();
        let agent = Stepped::stop(lab.agent.pid().unwrap());
        let login = lab.ssh_start(&who, "true").unwrap();
        agent.to_the_journal(&lab, &who);
        lab.agent.kill().unwrap();
        // The remaining process of the agent's program is the hook. On a slow machine it has already given up.
        for hook in process::running(&lab.programs.agent, &lab.agent.config).unwrap() {
            let _ = nix::sys::signal::kill(hook, Signal::SIGKILL);
        }
        let let_in = login.wait_with_output().unwrap().status.success();
        let markers = lab.markers().unwrap();
        lab.agent.start().unwrap();
        if !let_in && markers == 0 {
            break who;
        }
    };
    let session = lab.closed_sessions(&who, 1).unwrap().remove(0);
    let closed = session.session.closed.as_ref().unwrap();
    assert_eq!(closed.reason, CloseReason::NeverRecorded);
    assert!(session.ensure_whole().is_err(), "{:#?}", session.summary());
}

fn whole_and_in_time(session: &Recorded, calls: usize) {
    let at = format!("killed at call {calls}: {:#?}", session.summary());
    assert_eq!(session.session.opened.stamp, Stamp::InTime, "{at}");
    assert!(session.ensure_whole().is_ok(), "{at}");
    assert!(session.count("bash -c") > 0, "{at}");
}

/// One login. Its agent is killed after so many system calls, and started again.
struct Round {
    login: Child,
    /// The killed agent had already answered the login.
    was_answered: bool,
    /// Time at which the next agent was ready.
    ready_at: BootNs,
}

impl Round {
    fn of(lab: &mut Lab, stage: &Stage, who: &Certificate, calls: usize) -> Self {
        let agent = Stepped::stop(lab.agent.pid().unwrap());
        let login = stage.start(lab, who, "$T");
        let socket = lab.root().join("run/agent.sock");
        await_that("the login asks for its stamp", || waiting(&socket) > 0);
        for _ in 0..calls {
            agent.next_call();
        }
        let was_answered = waiting(&socket) == 0 && connected(&socket) == 0;
        lab.agent.kill().unwrap();
        lab.agent.start().unwrap();
        Self {
            login,
            was_answered,
            ready_at: boot_now(),
        }
    }
}

/// An agent that the spec steps from one system call to the next. So the place of the kill does not depend on the clock.
struct Stepped(Pid);

impl Stepped {
    /// Stops the thread that does all the work. From here on only this thread may step it.
    fn stop(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.cast_signed());
        ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
        ptrace::interrupt(pid).unwrap();
        waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
        Self(pid)
    }

    /// Steps until the journal has the session of that certificate, and the kernel does not have it yet.
    fn to_the_journal(&self, lab: &Lab, who: &Certificate) {
        let is_there = (0..1000).any(|_| {
            self.next_call();
            !lab.sessions_of(who).unwrap().is_empty()
        });
        assert!(is_there, "{}", lab.agent.last_words());
    }

    fn let_go(self) {
        ptrace::detach(self.0, None).unwrap();
    }

    /// Steps until the next system call is about to begin.
    fn next_call(&self) {
        // Each system call stops twice: at its start and at its return.
        for _ in 0..2 {
            let mut signal = None;
            loop {
                ptrace::syscall(self.0, signal).unwrap();
                match waitpid(self.0, Some(WaitPidFlag::__WALL)).unwrap() {
                    WaitStatus::PtraceSyscall(_) => break,
                    WaitStatus::Stopped(_, other) => signal = Some(other),
                    WaitStatus::PtraceEvent(..) => signal = None,
                    ended => panic!("the agent ended: {ended:?}"),
                }
            }
        }
    }
}

/// Returns the number of connections that the agent has not accepted yet.
fn waiting(socket: &Path) -> usize {
    sockets(socket, "02")
}

/// Returns the number of open connections on the agent's side.
fn connected(socket: &Path) -> usize {
    sockets(socket, "03")
}

/// Counts the sockets with that name and state in /proc/net/unix.
fn sockets(socket: &Path, state: &str) -> usize {
    let table = std::fs::read_to_string("/proc/net/unix").unwrap();
    let ours = table.lines().filter(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(5) == Some(&state) && fields.get(7).map(Path::new) == Some(socket)
    });
    ours.count()
}

fn boot_now() -> BootNs {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    BootNs(u64::try_from(Duration::from(now).as_nanos()).unwrap())
}

/// A stamp that is asked for again, and a late one of a marked login, find the session in the kernel.
#[test]
fn a_session_in_the_kernel_keeps_its_numbers() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let body = "touch inside; while [ ! -e leave ]; do :; done; $T";
    let login = stage.start(&lab, &who, body);
    await_file(&lab.home().join("inside"));
    let mark = lab.sessions_of(&who).unwrap()[0].session.opened.id.mark();
    let mut maps = Maps::pinned(&lab.pins()).unwrap();
    let before = maps.session(mark).unwrap();
    let others = SessionCounters {
        alive: 1 << 31,
        ..SessionCounters::default()
    };
    maps.open_session(mark, others).unwrap();
    assert_eq!(maps.session(mark), Some(before));
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    lab.whole_session(&who).unwrap();
}
