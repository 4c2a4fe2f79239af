//! An agent in a PID namespace of its own cannot compare the probe's records with /proc.

use std::process::{Command, Output};

use vctl_tests::fixture::lab;

#[test]
fn a_pid_namespace_of_its_own_is_refused_by_name() {
    let Some(mut lab) = lab() else { return };
    lab.agent.stop().unwrap();
    let pins = lab.pins();
    assert!(lab.agent.run("detach", &[]).unwrap().status.success());
    let isolated = |command: &str, args: &[&str]| -> Output {
        let agent = lab.agent.command(command);
        Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc"])
            .arg(agent.get_program())
            .args(agent.get_args())
            .args(args)
            .output()
            .unwrap()
    };
    let output = isolated("collect", &["--local"]);
    let refusal = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{refusal}");
    for part in ["has a PID namespace of its own", "`hostPID: true`"] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    assert!(!pins.exists(), "a refused agent left {}", pins.display());
    let report = isolated("check", &["--local"]);
    let report = String::from_utf8_lossy(&report.stdout);
    assert!(
        report
            .lines()
            .any(|line| line.starts_with("FAIL  pid_namespace")),
        "{report}"
    );
    // Its own PID namespace is the only reason.
    lab.agent.start().unwrap();
}
