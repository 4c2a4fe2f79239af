//! A user without root tries to reach the recording from inside a session.

use std::fmt::Write as _;

use vctl_tests::fixture::{Stage, lab};

#[test]
fn a_session_without_root_reaches_nothing_of_the_agent() {
    let Some(lab) = lab() else { return };
    let stage = Stage::set(&lab);
    let who = lab.certificate("mallory", 4711).unwrap();
    let root = lab.root().display();
    let agent = lab.agent.pid().unwrap();
    let config = lab.agent.config.display();
    // Other accounts cannot read a checkout below a home directory.
    let program = stage.bin.join("vctl-agent");
    std::fs::copy(&lab.programs.agent, &program).unwrap();
    let program = program.display();
    let pins = std::fs::read_to_string(&lab.agent.config).unwrap();
    let pins = pins.lines().find_map(|line| line.strip_prefix("pin_dir: "));
    let pins = pins.unwrap();
    // Each line must fail. For each line that worked, the script prints its number.
    let tries = [
        format!("ls {pins}"),
        format!("rm -r {pins}"),
        format!("ls {}", lab.spool().display()),
        format!("cat {}/*", lab.spool().display()),
        format!("kill -0 {agent}"),
        format!("kill -9 {agent}"),
        format!("kill -STOP {agent}"),
        format!("cat /proc/{agent}/environ"),
        format!("cat /proc/{agent}/maps"),
        format!("cat /proc/{agent}/mem"),
        format!("ls /proc/{agent}/fd"),
        format!("cat /proc/{agent}/root/etc/hostname"),
        "echo 0 > /proc/self/loginuid".to_owned(),
        "echo $$ > /sys/fs/cgroup/cgroup.procs".to_owned(),
        format!("{program} detach --config {config}"),
        format!("{program} collect --local --config {config}"),
        "find /etc/ssh -name '*_key' -readable | grep .".to_owned(),
    ];
    let mut script = String::new();
    for (number, attempt) in tries.iter().enumerate() {
        writeln!(
            script,
            "if ( {attempt} ) >/dev/null 2>&1; then echo worked {number}; fi"
        )
        .unwrap();
    }
    writeln!(
        script,
        "find {root} -name '*.sock' -writable 2>/dev/null\necho end"
    )
    .unwrap();
    let output = lab.ssh(&who, stage.script("mallory", &script)).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let worked: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("worked "))
        .map(|number| &tries[number.parse::<usize>().unwrap()])
        .collect();
    assert!(worked.is_empty(), "{worked:#?}");
    assert_eq!(said, "end\n");
    let recorded = lab.whole_session(&who).unwrap();
    assert!(recorded.count("detach") > 0, "{:?}", recorded.commands());
    assert_eq!(lab.agent.pid(), Some(agent));
}
