//! If a hook does not run or does not finish, the login is refused or recorded.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_tests::fixture::{await_that, lab};
use vctl_tests::lab::{Lab, Undo, process};

use super::{certificate, trace};

/// Logs in with a new certificate. Asserts that the login ran nothing, or is in the record.
fn recorded_or_refused(lab: &Lab, serial: u64, case: &str) -> bool {
    let who = certificate(lab, "mallory", serial, &[]);
    let accepted = lab.accepted().unwrap();
    let ended = lab.ssh(&who, format!("touch in-{serial}")).unwrap();
    assert_eq!(lab.accepted().unwrap(), accepted + 1, "{case}: {ended:?}");
    let got_in = trace(lab, serial).exists();
    if got_in {
        lab.closed_sessions(&who, 1)
            .unwrap_or_else(|error| panic!("{case}: {error:#}"));
    }
    got_in
}

#[test]
fn a_hook_that_cannot_start_refuses_the_login() {
    let Some(lab) = lab() else { return };
    let line = lab.pam_line();
    let program = lab.programs.agent.display().to_string();
    let no_program = lab.root().join("no-program");
    fs::write(&no_program, "not a program").unwrap();
    for (serial, (case, instead)) in (1..).zip([
        ("missing", "/nowhere/vctl-agent".to_owned()),
        ("not executable", no_program.display().to_string()),
        ("a directory", lab.root().display().to_string()),
    ]) {
        lab.set_pam_lines(&line.replace(&program, &instead))
            .unwrap();
        assert!(!recorded_or_refused(&lab, serial, case), "{case}");
    }
    lab.set_pam_lines(&line).unwrap();
    assert!(recorded_or_refused(&lab, 9, "the line as it belongs"));
}

#[test]
fn a_hook_killed_while_it_waits_refuses_the_login() {
    let Some(lab) = lab() else { return };
    let who = certificate(&lab, "mallory", 1, &[]);
    lab.agent.signal(Signal::SIGSTOP).unwrap();
    let login = lab.ssh_start(&who, "touch in-1").unwrap();
    let hooks = || {
        let program = fs::canonicalize(&lab.programs.agent).unwrap();
        let of_lab = process::running(&program, &lab.agent.config).unwrap();
        let others = of_lab.into_iter();
        let agent = lab.agent.pid().unwrap();
        others
            .filter(|pid| u32::try_from(pid.as_raw()).unwrap() != agent)
            .collect::<Vec<Pid>>()
    };
    await_that("the hook runs", || !hooks().is_empty());
    for hook in hooks() {
        kill(hook, Signal::SIGKILL).unwrap();
    }
    let ended = login.wait_with_output().unwrap();
    lab.agent.signal(Signal::SIGCONT).unwrap();
    assert!(!ended.status.success() && !trace(&lab, 1).exists());
}

#[test]
fn a_hook_short_of_memory_records_or_refuses() {
    let Some(lab) = lab() else { return };
    let line = lab.pam_line();
    let wrapper = lab.root().join("limited");
    let limited = line.replace(
        &lab.programs.agent.display().to_string(),
        &format!("{} {}", wrapper.display(), lab.programs.agent.display()),
    );
    lab.set_pam_lines(&limited).unwrap();
    let mut got_in = Vec::new();
    for (serial, mib) in (1..).zip([4_u64, 8, 16, 24, 32, 48, 64, 4096]) {
        script(&wrapper, &format!("ulimit -v {}; exec \"$@\"", mib * 1024));
        let case = format!("{mib} MiB");
        got_in.push(recorded_or_refused(&lab, serial, &case));
    }
    assert_eq!(got_in.first(), Some(&false), "{got_in:?}");
    assert_eq!(got_in.last(), Some(&true), "{got_in:?}");
}

#[test]
fn a_hook_short_of_processes_records_or_refuses() {
    let Some(mut lab) = lab() else { return };
    let Some(group) = pids_group(&lab) else {
        return vctl_tests::lab::skip("no pids controller is mounted");
    };
    let line = lab.pam_line();
    let joins = lab.root().join("joins");
    let join = format!("session required pam_exec.so quiet {}\n", joins.display());
    lab.set_pam_lines(&format!("{join}{line}")).unwrap();
    let mut got_in = Vec::new();
    // This group contains the login's sshd, and the programs of PAM are its children.
    let member = group.join("cgroup.procs");
    script(&joins, &format!("echo $PPID > {}", member.display()));
    let limit = |most: &str| {
        await_that("the last login is gone", || {
            fs::read_to_string(group.join("pids.current"))
                .unwrap()
                .trim()
                == "0"
        });
        fs::write(group.join("pids.max"), most).unwrap();
    };
    for (serial, most) in (1..).zip(["1", "2", "3", "max"]) {
        limit(most);
        got_in.push(recorded_or_refused(&lab, serial, &format!("{most} pids")));
    }
    assert_eq!(got_in.first(), Some(&false), "{got_in:?}");
    assert_eq!(got_in.last(), Some(&true), "{got_in:?}");

    // Without an agent, the hook tries to start a thread. It accepts the login even if it cannot.
    lab.agent.kill().unwrap();
    limit("2");
    let who = certificate(&lab, "mallory", 20, &[]);
    // The limit does not allow the user's own process in this login.
    let _ = lab.ssh(&who, "true").unwrap();
    assert_eq!(lab.markers().unwrap(), 1);
    lab.agent.start().unwrap();
    lab.closed_sessions(&who, 1).unwrap();
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

fn pids_group(lab: &Lab) -> Option<std::path::PathBuf> {
    let v1 = Path::new("/sys/fs/cgroup/pids");
    let root = if v1.join("cgroup.procs").exists() {
        v1.to_owned()
    } else {
        let enabled = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").ok()?;
        enabled.contains("pids").then(|| "/sys/fs/cgroup".into())?
    };
    let path = root.join(lab.id());
    let undo = Undo::RemoveCgroups { path: path.clone() };
    lab.journal().before(undo).unwrap();
    fs::create_dir(&path).unwrap();
    Some(path)
}
