//! An agent checks the pins and markers that it finds when it starts, and does not trust them.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use vctl_agent::probe::maps::{Maps, PinnedState, pinned_state};
use vctl_common::event::{EventKind, KernelEvent};
use vctl_common::id::SessionId;
use vctl_common::session::{Gap, GapCause};
use vctl_common::wire;

use vctl_tests::fixture::{await_file, await_that, lab, touch};

#[test]
fn pins_of_a_newer_version_are_named_and_left_alone() {
    let Some(mut lab) = lab() else { return };
    let pins = lab.pins();
    lab.agent.stop().unwrap();
    let ours = pinned_state(&pins).unwrap();
    let newer = PinnedState {
        version: u64::from(wire::VERSION) + 1,
        ..ours
    };
    Maps::pinned(&pins).unwrap().set_state(newer).unwrap();
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = names(&pins);
    let refusal = lab.agent.start().unwrap_err().to_string();
    let version = format!("version {}", newer.version);
    assert!(
        refusal.contains(&version) && refusal.contains(&pins.display().to_string()),
        "{refusal}"
    );
    assert_eq!(pinned_state(&pins).unwrap(), newer);
    assert_eq!(names(&pins), before);
    // The newer agent continues with these pins normally.
    Maps::pinned(&pins).unwrap().set_state(ours).unwrap();
    lab.agent.wait().unwrap();
    lab.agent.start().unwrap();
    let who = lab.certificate("alice", 1).unwrap();
    lab.ssh_ok(&who, "true").unwrap();
    lab.whole_session(&who).unwrap();
}

#[test]
fn invalid_late_login_files_are_moved_away() {
    let Some(mut lab) = lab() else { return };
    let who = lab.certificate("alice", 1).unwrap();
    lab.agent.stop().unwrap();
    // One marker of a real login, as the template for forged markers.
    lab.ssh_ok(&who, "true").unwrap();
    let pending = lab.root().join("pending");
    let real = fs::read_dir(&pending).unwrap().next().unwrap().unwrap();
    let real = fs::read_to_string(real.path()).unwrap();
    let elsewhere = lab.root().join("elsewhere");
    fs::write(&elsewhere, &real).unwrap();
    let marker = || {
        let id = SessionId::generate().to_string();
        let start = real.find("\"session_id\":\"").unwrap() + 14;
        let mut text = real.clone();
        text.replace_range(start..start + id.len(), &id);
        let path = pending.join(format!("{id}.json"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    let nobody = Some(65534);
    chown(marker(), nobody, None).unwrap();
    fs::set_permissions(marker(), Permissions::from_mode(0o622)).unwrap();
    fs::rename(marker(), pending.join("note.json")).unwrap();
    fs::rename(
        marker(),
        pending.join(format!("{}.json", SessionId::generate())),
    )
    .unwrap();
    fs::hard_link(marker(), lab.root().join("second-name")).unwrap();
    let link = marker();
    fs::remove_file(&link).unwrap();
    symlink(&elsewhere, link).unwrap();
    let fifo = marker();
    fs::remove_file(&fifo).unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    File::options()
        .write(true)
        .open(marker())
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    fs::write(marker(), "{").unwrap();
    fs::write(marker(), vec![b'['; 60_000]).unwrap();
    fs::create_dir(pending.join(format!("{}.d", SessionId::generate()))).unwrap();

    lab.agent.start().unwrap();
    let rejected = pending.join("rejected");
    await_that("the agent has moved all markers away", || {
        fs::read_dir(&rejected).is_ok_and(|entries| entries.count() >= 11)
    });
    let left: Vec<_> = fs::read_dir(&pending)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["rejected"]);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), real);
    let later = lab.certificate("bob", 2).unwrap();
    lab.ssh_ok(&later, "true").unwrap();
    lab.whole_session(&later).unwrap();
    // The real marker, and the login.
    assert_eq!(lab.sessions().unwrap().len(), 2);
}

#[test]
fn a_removed_probe_is_attached_again_with_a_gap() {
    let Some(mut lab) = lab() else { return };
    let pins = lab.pins();
    let who = lab.certificate("alice", 1).unwrap();
    let work = "touch inside; while [ ! -e go ]; do sleep 0.1; done; /bin/true after";
    let login = lab.ssh_start(&who, work).unwrap();
    await_file(&lab.home().join("inside"));
    // A running agent holds the links open, and would pin them again.
    lab.agent.stop().unwrap();
    for name in ["process_exec", "process_fork", "process_exit"] {
        fs::remove_file(pins.join(format!("link_{name}"))).unwrap();
    }
    lab.agent.start().unwrap();
    File::create(lab.home().join("go")).unwrap();
    assert!(login.wait_with_output().unwrap().status.success());
    let session = &lab.closed_sessions(&who, 1).unwrap()[0];
    assert!(session.commands().contains(&"/bin/true after".to_owned()));
    let away = |gap: &Gap| gap.cause == GapCause::ProbeAway;
    assert!(
        session.session.gaps.iter().any(away),
        "{:?}",
        session.session.gaps
    );
    assert!(session.ensure_whole().is_err());
}

/// Two events with one number would be one to the centre, and in no certain order.
#[test]
fn the_numbers_of_a_session_go_on_with_a_new_probe() {
    let Some(mut lab) = lab() else { return };
    let who = lab.certificate("alice", 1).unwrap();
    let work = "for i in 1 2 3 4; do /bin/true before-$i; done; touch inside; \
                while [ ! -e go ]; do sleep 0.1; done; /bin/true between; touch again; \
                while [ ! -e leave ]; do sleep 0.1; done; /bin/true after";
    let login = lab.ssh_start(&who, work).unwrap();
    await_file(&lab.home().join("inside"));
    lab.agent.stop().unwrap();
    assert!(lab.agent.run("detach", &[]).unwrap().status.success());
    lab.agent.start().unwrap();
    touch(&lab.home().join("go"));
    await_file(&lab.home().join("again"));
    // The next agent continues with the numbers of both probes.
    lab.agent.kill().unwrap();
    lab.agent.start().unwrap();
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = &lab.closed_sessions(&who, 1).unwrap()[0];
    let mut runs = session.commands();
    runs.retain(|command| command.starts_with("/bin/true"));
    let expected = [
        "before-1", "before-2", "before-3", "before-4", "between", "after",
    ];
    assert_eq!(runs, expected.map(|name| format!("/bin/true {name}")));
    let numbers = session.events.iter().map(|event| event.session_seq);
    assert!(
        numbers.eq(1..=session.events.len() as u64),
        "{:#?}",
        session.summary()
    );
    let causes = session.session.gaps.iter().map(|gap| gap.cause);
    assert!(
        causes.clone().all(|cause| cause == GapCause::ProbeAway),
        "{:?}",
        causes.collect::<Vec<_>>()
    );
}

#[test]
fn failed_execs_are_recorded_once_tracefs_is_mounted() {
    let Some(mut lab) = lab() else { return };
    lab.agent.kill().unwrap();
    lab.agent.before = Some("umount /sys/kernel/tracing");
    lab.agent.start().unwrap();
    let who = lab.certificate("alice", 1).unwrap();
    let work = "while [ ! -e go ]; do sleep 0.1; done; /nonexistent/program";
    let login = lab.ssh_start(&who, work).unwrap();
    let log = || fs::read_to_string(&lab.agent.log).unwrap();
    await_that("the log names the reason", || {
        log().contains("Failed execs are not recorded. error=the tracepoints of system calls")
    });
    let agent = lab.agent.pid().unwrap().to_string();
    let mounted = Command::new("nsenter")
        .args([
            "--mount", "--target", &agent, "mount", "-t", "tracefs", "tracefs",
        ])
        .arg("/sys/kernel/tracing")
        .status();
    assert!(mounted.unwrap().success());
    await_that("failed execs are recorded", || {
        log().contains("Failed execs are recorded.")
    });
    File::create(lab.home().join("go")).unwrap();
    login.wait_with_output().unwrap();
    let session = lab.whole_session(&who).unwrap();
    let failed = |event: &KernelEvent| matches!(event.kind, EventKind::ExecFailed { .. });
    assert!(
        session.events.iter().any(failed),
        "{:#?}",
        session.summary()
    );
}

#[test]
fn failed_execs_survive_an_interrupted_attach() {
    let Some(mut lab) = lab() else { return };
    let program = lab.pins().join("prog_exec_failed");
    lab.agent.kill().unwrap();
    // The agent was killed as soon as it was ready, so it may not have reached that step.
    if program.exists() {
        fs::remove_file(program).unwrap();
    }
    lab.agent.start().unwrap();
    let who = lab.certificate("alice", 1).unwrap();
    lab.ssh_ok(&who, "/nonexistent/program || true").unwrap();
    let session = lab.whole_session(&who).unwrap();
    let failed = |event: &KernelEvent| matches!(event.kind, EventKind::ExecFailed { .. });
    assert!(session.events.iter().any(failed));
}
