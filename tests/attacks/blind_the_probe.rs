//! A user, or root, removes the probe's pins or replaces them.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use vctl_common::session::GapCause;
use vctl_common::status::{self, CollectorStatus};
use vctl_tests::fixture::{await_file, await_that, lab, touch};
use vctl_tests::lab::{Lab, Options};

const NOBODY: Option<u32> = Some(65534);
const LINKS: [&str; 4] = [
    "process_exec",
    "process_fork",
    "process_exit",
    "cgroup_attach",
];

fn waiting() -> Option<Lab> {
    Lab::or_skip(&Options {
        agent_waits: true,
        ..Options::default()
    })
}

fn collector(lab: &Lab) -> CollectorStatus {
    status::read(&lab.root().join("run")).unwrap_or_default()
}

/// Makes a directory as another user could before the first start of the agent.
fn squat(dir: &Path, mode: u32) {
    DirBuilder::new().create(dir).unwrap();
    chown(dir, NOBODY, NOBODY).unwrap();
    fs::set_permissions(dir, Permissions::from_mode(mode)).unwrap();
}

fn is_recorded(lab: &Lab, serial: u64) {
    let who = lab.certificate("alice", serial).unwrap();
    lab.ssh_ok(&who, "true").unwrap();
    lab.whole_session(&who).unwrap();
}

#[test]
fn an_empty_pin_directory_of_another_user_is_made_anew() {
    let Some(mut lab) = waiting() else { return };
    let pins = lab.pins();
    squat(&pins, 0o777);
    lab.agent.start().unwrap();
    let meta = fs::metadata(&pins).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o700));
    is_recorded(&lab, 1);
}

#[test]
fn a_pin_directory_that_others_may_change_is_refused() {
    let Some(mut lab) = waiting() else { return };
    let pins = lab.pins();
    squat(&pins, 0o755);
    DirBuilder::new().create(pins.join("in")).unwrap();
    let refusal = lab.agent.start().unwrap_err().to_string();
    lab.agent.wait().unwrap();
    let named = [
        &pins.display().to_string(),
        "uid 65534",
        "mode 0755",
        "chown root:root",
    ];
    assert!(named.iter().all(|part| refusal.contains(part)), "{refusal}");
    let check = lab.agent.run("check", &[]).unwrap();
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.contains("belongs to another user"), "{check}");
    fs::remove_dir(pins.join("in")).unwrap();
    // The directory belongs to root, but every user can write to it.
    chown(&pins, Some(0), Some(0)).unwrap();
    fs::set_permissions(&pins, Permissions::from_mode(0o777)).unwrap();
    let refusal = lab.agent.start().unwrap_err().to_string();
    lab.agent.wait().unwrap();
    assert!(refusal.contains("can be written by others"), "{refusal}");
    fs::set_permissions(&pins, Permissions::from_mode(0o700)).unwrap();
    lab.agent.start().unwrap();
    is_recorded(&lab, 1);
}

#[test]
fn a_directory_above_that_others_may_change_is_refused() {
    let Some(lab) = lab() else { return };
    let above = PathBuf::from(format!("/sys/fs/bpf/{}-above", lab.id()));
    DirBuilder::new().create(&above).unwrap();
    fs::set_permissions(&above, Permissions::from_mode(0o777)).unwrap();
    let mut agent = lab
        .another_agent("other", Some(&above.join("pins")))
        .unwrap();
    let refusal = agent.start().unwrap_err().to_string();
    agent.wait().unwrap();
    let _ = fs::remove_dir(above.join("pins"));
    fs::remove_dir(&above).unwrap();
    assert!(refusal.contains(&above.display().to_string()), "{refusal}");
    // The agent checks its other directories in the same way.
    let root = lab.root().join("third");
    let mut agent = lab.another_agent("third", None).unwrap();
    fs::set_permissions(&root, Permissions::from_mode(0o733)).unwrap();
    let refusal = agent.start().unwrap_err().to_string();
    agent.wait().unwrap();
    assert!(refusal.contains("can be written by others"), "{refusal}");
}

#[test]
fn a_removed_pin_takes_no_probe_away_and_comes_back() {
    let Some(lab) = lab() else { return };
    let pins = lab.pins();
    let who = lab.certificate("alice", 1).unwrap();
    let work = "touch inside; while [ ! -e go ]; do sleep 0.05; done; /bin/true while-away; \
                touch ran; while [ ! -e leave ]; do sleep 0.05; done; /bin/true after";
    let login = lab.ssh_start(&who, work).unwrap();
    await_file(&lab.home().join("inside"));
    let names: Vec<_> = LINKS.iter().map(|name| format!("link_{name}")).collect();
    // All pins at once except the state. Without the state, the agent would see a removed probe.
    let others = [
        "prog_process_exec",
        "ring",
        "counters",
        "link_sys_exit_execve",
    ];
    let names: Vec<_> = names.iter().map(String::as_str).chain(others).collect();
    for name in &names {
        fs::remove_file(pins.join(name)).unwrap();
    }
    touch(&lab.home().join("go"));
    await_that("all are back", || {
        names.iter().all(|name| pins.join(name).exists())
    });
    await_file(&lab.home().join("ran"));
    await_that("the status counts and names them", || {
        let status = collector(&lab);
        let problem = status.problem.unwrap_or_default();
        status.pins_restored >= 8 && problem.contains("removed or replaced")
    });
    touch(&lab.home().join("leave"));
    assert!(login.wait_with_output().unwrap().status.success());
    let session = lab.whole_session(&who).unwrap();
    for command in ["/bin/true while-away", "/bin/true after"] {
        assert!(session.commands().contains(&command.to_owned()));
    }
}

#[test]
fn a_pin_of_another_object_is_replaced() {
    let Some(lab) = lab() else { return };
    let pins = lab.pins();
    for (from, to) in [
        ("link_process_fork", "link_process_exec"),
        ("sessions", "tasks"),
    ] {
        fs::rename(pins.join(from), pins.join(to)).unwrap();
        await_that("both are back", || pins.join(from).exists());
    }
    await_that("all four are counted", || {
        collector(&lab).pins_restored >= 4
    });
    is_recorded(&lab, 1);
}

#[test]
fn pins_exchanged_while_no_agent_ran_are_no_probe() {
    let Some(mut lab) = lab() else { return };
    let pins = lab.pins();
    let who = lab.certificate("alice", 1).unwrap();
    let work = "touch inside; while [ ! -e go ]; do sleep 0.05; done; /bin/true after";
    let login = lab.ssh_start(&who, work).unwrap();
    await_file(&lab.home().join("inside"));
    lab.agent.stop().unwrap();
    let name = |name: &str| pins.join(name);
    fs::rename(name("link_process_exec"), name("kept")).unwrap();
    fs::rename(name("link_process_fork"), name("link_process_exec")).unwrap();
    fs::rename(name("kept"), name("link_process_fork")).unwrap();
    lab.agent.start().unwrap();
    File::create(lab.home().join("go")).unwrap();
    assert!(login.wait_with_output().unwrap().status.success());
    let session = &lab.closed_sessions(&who, 1).unwrap()[0];
    let gaps = &session.session.gaps;
    assert!(
        gaps.iter().any(|gap| gap.cause == GapCause::ProbeAway),
        "{gaps:?}"
    );
    assert!(session.commands().contains(&"/bin/true after".to_owned()));
}

#[test]
fn removing_all_pins_is_reported() {
    let Some(lab) = lab() else { return };
    let pins = lab.pins();
    let who = lab.certificate("alice", 1).unwrap();
    let work = "touch inside; while [ ! -e leave ]; do sleep 0.05; done";
    let login = lab.ssh_start(&who, work).unwrap();
    await_file(&lab.home().join("inside"));
    let mut entries: Vec<_> = fs::read_dir(&pins)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    // The links go first, as in `vctl-agent detach`. The agent's next check reads the state.
    entries.sort_by_key(|path| !path.ends_with("state"));
    for path in entries {
        fs::remove_file(path).unwrap();
    }
    await_that("it is a problem", || {
        collector(&lab)
            .problem
            .is_some_and(|problem| problem.contains("no longer attached"))
    });
    // The status is a file of its own: the gap may reach the spool after it.
    await_that("the session has a gap", || {
        let session = lab.sessions_of(&who).unwrap().remove(0);
        let mut gaps = session.session.gaps.iter();
        gaps.any(|gap| gap.cause == GapCause::ProbeAway)
    });
    touch(&lab.home().join("leave"));
    let _ = login.wait_with_output();
}
