//! An exec record shows exactly the program that the kernel started, byte for byte as the program itself saw it.
mod cases;

use vctl_common::event::{Device, EventKind, ExecEvent, KernelEvent};
use vctl_common::id::AuditSessionId;
use vctl_common::wire::ARGV_MAX;
use vctl_tests::lab::{Certificate, Lab, Recorded};
use vctl_tests::truth::{Running, Truth};

use cases::{CASES, Case, Namespace};
use vctl_tests::fixture::{Stage, exec_of, is_process, lab};

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
    // The same cases ran in two sessions, so a case fails if its program never ran.
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
    let nowhere: Vec<_> = stage
        .running()
        .into_iter()
        .filter(|truth| {
            sessions
                .iter()
                .filter(|session| exec_of(session, truth).is_some())
                .count()
                != 1
        })
        .collect();
    assert!(
        nowhere.is_empty(),
        "not in exactly one session: {nowhere:#?}"
    );
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
        // A subshell for each case, because a case may change its directory or replace its shell.
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

/// Returns the errors in the record of one case in one session.
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
                    start,
                    filename,
                    argv,
                    errno,
                    ..
                } => failed_difference(session, (*pid, *start), filename, argv, *errno),
                Truth::Ended { .. } => None,
            };
            problem.map(|problem| format!("`{}`: {problem}", case.name))
        })
        .collect()
}

/// Compares all facts that a program can know about its own exec.
fn difference(
    case: &Case,
    truth: &Running,
    event: &KernelEvent,
    exec: &ExecEvent,
) -> Option<String> {
    let alive = |path: &[u8]| path.strip_suffix(b" (deleted)").unwrap_or(path).to_vec();
    let exe = &exec.exe;
    let in_memory = truth.exe.starts_with(b"/memfd:");
    let gone = truth.exe.ends_with(b" (deleted)") && !in_memory;
    let tty = exec.tty.map_or(0, |tty| device_number(tty.0));
    let login_uid = exec.login_uid.unwrap_or(u32::MAX);
    let parent = exec.parent.tgid;
    // Inside its namespace the program gets other numbers from the kernel, or no numbers.
    let (login_uid, parent) = match case.own_namespace {
        None => (login_uid, parent),
        Some(Namespace::Pid) => (login_uid, truth.ppid),
        Some(Namespace::User) => (truth.login_uid, parent),
    };
    let audit_session = exec.audit_session.map_or(u32::MAX, AuditSessionId::get);
    let checks = [
        argv_difference(truth, exec),
        differs(
            "argv redacted or not in memory",
            &(exec.redacted, exec.argv_fault),
            &(false, false),
        ),
        differs("argc", &(exec.argc as usize), &truth.argv.len()),
        path_difference("exe", &exe.path, exe.path_truncated, &alive(&truth.exe)),
        differs(
            "memfd, deleted",
            &(exe.memfd, exe.deleted),
            &(in_memory, gone),
        ),
        differs(
            "device",
            &(exe.device.major, exe.device.minor),
            &(truth.exe_major, truth.exe_minor),
        ),
        differs("inode", &exe.inode, &truth.exe_inode),
        differs("links", &u64::from(exe.links), &truth.exe_links),
        path_difference("cwd", &exec.cwd, exec.cwd_truncated, &alive(&truth.cwd)),
        differs("script", &exec.script, &case.script_file),
        differs("pid", &event.process.tgid, &truth.pid),
        differs("parent", &parent, &truth.ppid),
        differs("uids", &(exec.ruid, exec.euid), &(truth.ruid, truth.euid)),
        differs("gids", &(exec.rgid, exec.egid), &(truth.rgid, truth.egid)),
        differs("login uid", &login_uid, &truth.login_uid),
        differs("audit session", &audit_session, &truth.audit_session),
        differs("terminal", &tty, &truth.tty),
        differs(
            "namespaces",
            &(exec.mount_ns, exec.pid_ns),
            &(truth.mount_ns, truth.pid_ns),
        ),
    ];
    let wrong: Vec<_> = checks.into_iter().flatten().collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

fn differs<T: PartialEq + std::fmt::Debug>(what: &str, recorded: &T, told: &T) -> Option<String> {
    (recorded != told).then(|| format!("{what}: {} against {}", brief(recorded), brief(told)))
}

/// Up to its limit argv is stored completely. Above the limit, its beginning and its true length are stored.
fn argv_difference(truth: &Running, exec: &ExecEvent) -> Option<String> {
    let whole: usize = truth.argv.iter().map(|item| item.len() + 1).sum();
    let length = differs("length of argv", &(exec.argv_true_len as usize), &whole);
    if whole <= ARGV_MAX {
        let flag = differs("argv truncated", &exec.argv_truncated, &false);
        return length
            .or(flag)
            .or_else(|| differs("argv", &exec.argv, &truth.argv));
    }
    let (kept, told) = (exec.argv.join(&0), truth.argv.join(&0));
    let fits = exec.argv_truncated && kept.len() + 1 >= ARGV_MAX && told.starts_with(&kept);
    length.or_else(|| (!fits).then(|| format!("{} bytes of {whole}", kept.len())))
}

/// Number of components that are stored of every path.
const DEPTH: usize = 32;

/// Compares two paths. When a path is too deep for the probe, only its end is stored, and it is marked as truncated.
fn path_difference(what: &str, recorded: &[u8], truncated: bool, told: &[u8]) -> Option<String> {
    let kept = recorded.split(|&byte| byte == b'/').count() - 1;
    let fits = if truncated {
        kept >= DEPTH && told.ends_with(recorded)
    } else {
        recorded == told
    };
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    (!fits).then(|| format!("{what}: `{}` against `{}`", text(recorded), text(told)))
}

/// Encodes as in /proc/self/stat: minor bits 0 to 7 and 20 to 31, major in between.
fn device_number(Device { major, minor }: Device) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn failed_difference(
    session: &Recorded,
    (pid, start): (u32, u64),
    filename: &[u8],
    argv: &[Vec<u8>],
    errno: i32,
) -> Option<String> {
    let attempts: Vec<_> = session
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::ExecFailed { errno, exec } if is_process(event, pid, start) => {
                Some((*errno, exec))
            }
            _ => None,
        })
        .collect();
    // A truth of the other session.
    if !session
        .events
        .iter()
        .any(|event| is_process(event, pid, start))
    {
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
fn a_script_is_recorded_with_its_interpreter() {
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

#[test]
fn a_cut_argument_of_a_failed_exec_is_flagged() {
    let Some(lab) = lab() else { return };
    let who = lab.certificate("alice", 5).unwrap();
    // The longest that is recorded whole has 1,023 bytes.
    lab.ssh_ok(
        &who,
        "perl -e 'exec {\"/missing\"} $_, \"x\" x $_, \"last\" for 1023, 1024, 5000; exit 0'",
    )
    .unwrap();
    let session = lab.whole_session(&who).unwrap();
    let failed = session.events.iter().filter_map(|event| match &event.kind {
        EventKind::ExecFailed { exec, .. } if exec.filename == b"/missing" => Some(exec),
        _ => None,
    });
    let seen: Vec<_> = failed
        .map(|exec| {
            let lengths: Vec<_> = exec.argv.iter().map(Vec::len).collect();
            (lengths, exec.argv_truncated)
        })
        .collect();
    let expected = [(1023, false), (1024, true), (1024, true)];
    let expected = expected.map(|(len, is_cut)| (vec![4, len, 4], is_cut));
    assert_eq!(seen, expected);
}

#[test]
fn the_longest_name_of_a_file_is_recorded_whole() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("alice", 6).unwrap();
    let name = "n".repeat(255);
    let body =
        format!("mkdir -p {name}/{name}; cp $T {name}/{name}/; cd {name}; {name}/exec-target");
    stage.run(&lab, &who, &body);
    let session = lab.whole_session(&who).unwrap();
    let truth = stage.running().remove(0);
    let (_, exec) = exec_of(&session, &truth).unwrap();
    assert_eq!((&exec.exe.path, &exec.cwd), (&truth.exe, &truth.cwd));
    assert!(!exec.exe.path_truncated && !exec.cwd_truncated, "{exec:?}");
}
