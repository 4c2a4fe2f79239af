//! An exit record is written once for each process, with the status that wait(2) returns.

use std::collections::BTreeMap;

use vctl_common::event::ExitStatus;
use vctl_tests::truth::Truth;

use vctl_tests::fixture::{Stage, identity, lab};

const ROUNDS: usize = 50;

#[test]
fn every_end_is_recorded_once_and_as_wait_tells_it() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 1).unwrap();
    let ways = ways();
    // Core dumps are written into the working directory of the process.
    let body = format!(
        "mkdir cores; cd cores; $END matrix {ROUNDS} {}",
        ways.join(" ")
    );
    stage.run(&lab, &who, &body);
    let session = lab.whole_session(&who).unwrap();
    let mut recorded: BTreeMap<(u32, u64), Vec<ExitStatus>> = BTreeMap::new();
    for (event, exit) in session.exits() {
        recorded
            .entry(identity(event.process))
            .or_default()
            .push(exit.status);
    }
    let truths = stage.truths();
    assert_eq!(truths.len(), ROUNDS * ways.len());
    let wrong: Vec<_> = truths
        .iter()
        .filter_map(|truth| match truth {
            Truth::Ended {
                case,
                pid,
                start,
                status,
            } => {
                let told = ExitStatus::from_wait(status.cast_unsigned());
                let exits = recorded.get(&(*pid, *start)).cloned().unwrap_or_default();
                (exits != [told]).then(|| format!("{case}: {told:?} recorded as {exits:?}"))
            }
            other => Some(format!("{other:?}")),
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        truths.len(),
        wrong.join("\n")
    );
    assert!(
        truths
            .iter()
            .any(|truth| matches!(truth, Truth::Ended { status, .. } if status & 0x80 != 0)),
        "no core was dumped"
    );
}

/// Returns every way to end, as arguments of `odd-exit matrix`.
fn ways() -> Vec<String> {
    // Signals that do not end a process by default are left out.
    let harmless = [17, 18, 19, 20, 21, 22, 23, 28];
    // The C library uses 32 and 33 itself.
    let signals = (1..=31)
        .chain(34..=64)
        .filter(|signal| !harmless.contains(signal));
    let mut ways: Vec<_> = signals.map(|signal| format!("signal={signal}")).collect();
    let dumping = [3, 4, 5, 6, 7, 8, 11, 24, 25, 31];
    ways.extend(dumping.map(|signal| format!("core={signal}")));
    let codes = [
        "exit=0",
        "exit=1",
        "exit-group=0",
        "exit-group=42",
        "exit-group=255",
    ];
    let threads = ["leader-first=7", "thread-exec=8", "threads-64=9"];
    ways.extend(codes.iter().chain(&threads).map(|&way| way.to_owned()));
    ways
}

#[test]
fn a_process_killed_for_want_of_memory_ends_by_signal_9() {
    let Some(lab) = lab() else { return };
    let Some(limited) = limited_group() else {
        return vctl_tests::lab::skip("no memory controller is mounted");
    };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 2).unwrap();
    let group = format!("{}/{}", limited.root, lab.id());
    lab.journal()
        .before(vctl_tests::lab::Undo::RemoveCgroups {
            path: group.clone().into(),
        })
        .unwrap();
    std::fs::create_dir(&group).unwrap();
    std::fs::write(format!("{group}/{}", limited.file), "33554432").unwrap();
    let body = format!(
        "$AS_ROOT sh -c \"echo \\$\\$ > {group}/cgroup.procs; $END matrix {ROUNDS} out-of-memory\""
    );
    stage.run(&lab, &who, &body);
    let session = lab.whole_session(&who).unwrap();
    let killed = session.exits().filter(|(_, exit)| {
        exit.status
            == ExitStatus::Signal {
                signal: 9,
                core_dumped: false,
            }
    });
    assert_eq!(killed.count(), ROUNDS);
}

struct Limited {
    root: &'static str,
    file: &'static str,
}

/// On a hybrid host the memory controller has a separate hierarchy, unless the kernel has it only in cgroup2.
fn limited_group() -> Option<Limited> {
    if std::path::Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() {
        return Some(Limited {
            root: "/sys/fs/cgroup/memory",
            file: "memory.limit_in_bytes",
        });
    }
    let mut roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter();
    let has_memory = |root: &&str| {
        let enabled = std::fs::read_to_string(format!("{root}/cgroup.subtree_control"));
        enabled.is_ok_and(|enabled| enabled.contains("memory"))
    };
    Some(Limited {
        root: roots.find(has_memory)?,
        file: "memory.max",
    })
}

#[test]
fn a_process_that_only_forked_has_an_end_too() {
    let Some(lab) = lab() else { return };
    let who = lab.certificate("alice", 3).unwrap();
    lab.ssh_ok(&who, "(exit 41); (exit 42) & wait; true")
        .unwrap();
    let session = lab.whole_session(&who).unwrap();
    for code in [41, 42] {
        let ends = session
            .exits()
            .filter(|(_, exit)| exit.status == ExitStatus::Code(code));
        assert_eq!(ends.count(), 1, "{code}: {:#?}", session.summary());
    }
}
