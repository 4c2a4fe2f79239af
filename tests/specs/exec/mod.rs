//! An exec record says exactly what the kernel started: byte for byte what the program itself saw.
mod cases;

use vctl_common::event::{EventKind, ExecEvent, KernelEvent};
use vctl_common::id::AuditSessionId;
use vctl_common::wire::ARGV_MAX;
use vctl_tests::lab::{Certificate, Lab, Recorded};
use vctl_tests::truth::{Running, Truth};

use crate::fixture::{Stage, exec_of, lab};
use cases::{CASES, Case};

#[test]
fn every_exec_is_recorded_as_the_program_saw_it() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    cases::prepare(&lab, &stage);
    let without = lab.certificate("without-terminal", 1).unwrap();
    let with = lab.certificate("with-terminal", 2).unwrap();
    let script = lab.home().join("cases.sh");
    std::fs::write(&script, stage.script("none", &body())).unwrap();
    let output = lab.ssh(&without, "bash cases.sh").unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = lab.ssh_terminal(&with, "bash cases.sh").unwrap();
    assert!(output.status.success(), "{output:?}");

    let truths = stage.truths();
    // The same cases ran twice, so a case whose program never ran cannot pass.
    let silent: Vec<_> = CASES
        .iter()
        .filter(|case| {
            truths
                .iter()
                .filter(|truth| case_of(truth) == case.name)
                .count()
                != 2
        })
        .map(|case| case.name)
        .collect();
    assert!(
        silent.is_empty(),
        "cases that did not run twice: {silent:?}"
    );
    let sessions = [&without, &with].map(|who| lab.whole_session(who).unwrap());
    for session in &sessions {
        let problems: Vec<_> = CASES
            .iter()
            .flat_map(|case| problems(case, session, &truths))
            .collect();
        assert!(
            problems.is_empty(),
            "{} of {} cases:\n{}",
            problems.len(),
            CASES.len(),
            problems.join("\n")
        );
    }
}

fn body() -> String {
    let cases = CASES.iter().map(|case| {
        // A subshell each: a case may change its directory or replace its shell.
        format!("export VCTL_CASE={name}\nAS_ROOT=\"sudo -n env VCTL_TRUTH=$VCTL_TRUTH VCTL_CASE={name}\"\n( {script} )\n", name = case.name, script = case.script)
    });
    cases.collect::<String>() + "true\n"
}

fn case_of(truth: &Truth) -> &str {
    match truth {
        Truth::Running(running) => &running.case,
        Truth::Failed { case, .. } | Truth::Ended { case, .. } => case,
    }
}

/// Returns what is wrong with the record of one case in one session.
fn problems(case: &Case, session: &Recorded, truths: &[Truth]) -> Vec<String> {
    let of_case = truths.iter().filter(|truth| case_of(truth) == case.name);
    of_case
        .filter_map(|truth| {
            let problem = match truth {
                Truth::Running(running) => {
                    let (event, exec) = exec_of(session, running)?;
                    difference(case, running, event, exec)
                }
                Truth::Failed {
                    pid,
                    filename,
                    argv,
                    errno,
                    ..
                } => failed_difference(session, *pid, filename, argv, *errno),
                Truth::Ended { .. } => None,
            };
            problem.map(|problem| format!("`{}`: {problem}", case.name))
        })
        .collect()
}

/// Compares all that a program can know of its own exec.
fn difference(
    case: &Case,
    truth: &Running,
    event: &KernelEvent,
    exec: &ExecEvent,
) -> Option<String> {
    let whole = truth.argv.iter().map(|item| item.len() + 1).sum::<usize>();
    let kept: usize = exec.argv.iter().map(|item| item.len() + 1).sum();
    let argv_fits = if whole <= ARGV_MAX {
        exec.argv == truth.argv && !exec.argv_truncated
    } else {
        let joined = |argv: &[Vec<u8>]| argv.join(&0);
        exec.argv_truncated
            && kept >= ARGV_MAX
            && joined(&truth.argv).starts_with(&joined(&exec.argv))
    };
    let alive = |path: &[u8]| path.strip_suffix(b" (deleted)").unwrap_or(path).to_vec();
    let checks = [
        ("argv", argv_fits && !exec.argv_fault && !exec.redacted),
        ("argc", exec.argc as usize == truth.argv.len()),
        ("length of argv", exec.argv_true_len as usize == whole),
        (
            "exe",
            exec.exe.path == alive(&truth.exe) && !exec.exe.path_truncated,
        ),
        (
            "deleted",
            exec.exe.deleted == (truth.exe.ends_with(b" (deleted)") && !exec.exe.memfd),
        ),
        ("memfd", exec.exe.memfd == truth.exe.starts_with(b"/memfd:")),
        (
            "device",
            (exec.exe.device.major, exec.exe.device.minor) == (truth.exe_major, truth.exe_minor),
        ),
        ("inode", exec.exe.inode == truth.exe_inode),
        ("links", u64::from(exec.exe.links) == truth.exe_links),
        ("cwd", exec.cwd == alive(&truth.cwd) && !exec.cwd_truncated),
        ("script", exec.script == case.script_file),
        ("pid", event.process.tgid == truth.pid),
        (
            "parent",
            exec.parent.tgid == truth.ppid || case.own_pid_namespace,
        ),
        ("uids", (exec.ruid, exec.euid) == (truth.ruid, truth.euid)),
        ("gids", (exec.rgid, exec.egid) == (truth.rgid, truth.egid)),
        (
            "login uid",
            exec.login_uid.unwrap_or(u32::MAX) == truth.login_uid,
        ),
        (
            "audit session",
            exec.audit_session.map_or(u32::MAX, AuditSessionId::get) == truth.audit_session,
        ),
        (
            "terminal",
            exec.tty
                .map_or(0, |tty| device_number(tty.0.major, tty.0.minor))
                == truth.tty,
        ),
        ("mount namespace", exec.mount_ns == truth.mount_ns),
        ("pid namespace", exec.pid_ns == truth.pid_ns),
    ];
    let wrong: Vec<_> = checks
        .iter()
        .filter(|(_, fits)| !fits)
        .map(|(name, _)| *name)
        .collect();
    (!wrong.is_empty()).then(|| {
        format!(
            "{} differ: {} against {}",
            wrong.join(", "),
            brief(exec),
            brief(truth)
        )
    })
}

/// As /proc/self/stat has it: minor bits 0 to 7 and 20 to 31, major in between.
fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn failed_difference(
    session: &Recorded,
    pid: u32,
    filename: &[u8],
    argv: &[Vec<u8>],
    errno: i32,
) -> Option<String> {
    let attempts: Vec<_> = session
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::ExecFailed { errno, exec } if event.process.tgid == pid => {
                Some((*errno, exec))
            }
            _ => None,
        })
        .collect();
    // The other session's truth.
    if !session.events.iter().any(|event| event.process.tgid == pid) {
        return None;
    }
    let whole = argv.iter().map(|item| item.len() + 1).sum::<usize>();
    match attempts.as_slice() {
        [] => Some(format!("no failed exec of pid {pid}")),
        [(recorded, exec)] => {
            let fits = recorded.cast_signed() == errno && exec.filename == filename;
            let argv_fits = exec.argv == argv || whole > ARGV_MAX;
            (!fits || !argv_fits)
                .then(|| format!("errno {recorded} {} against {errno}", brief(exec)))
        }
        more => Some(format!("{} failed execs of pid {pid}", more.len())),
    }
}

fn brief(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    text.truncate(text.floor_char_boundary(1500));
    text
}

#[test]
fn the_name_a_script_was_started_by_is_kept_beside_its_interpreter() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    cases::prepare(&lab, &stage);
    let who: Certificate = lab.certificate("alice", 3).unwrap();
    stage.run(&lab, &who, "./script one");
    let session = lab.whole_session(&who).unwrap();
    let (_, exec) = exec_of(&session, &stage.running()[0]).unwrap();
    assert_eq!(exec.filename, b"./script");
    assert!(exec.exe.path.ends_with(b"/exec-target"), "{exec:?}");
}

#[test]
fn a_program_that_rewrites_its_own_arguments_changes_no_record() {
    let Some(lab): Option<Lab> = lab() else {
        return;
    };
    let who = lab.certificate("alice", 4).unwrap();
    lab.ssh_ok(&who, "perl -e '$0 = q(innocent); sleep 1' guilty")
        .unwrap();
    let session = lab.whole_session(&who).unwrap();
    assert_eq!(
        (session.count("guilty") > 0, session.count("innocent;")),
        (true, 0)
    );
}
