use super::*;
use crate::check::facts::ExecExitFact;
use crate::check::{BreakGlass, SocketFact, SpoolFact, SshdFact, Status};
use crate::config::Mode;
use crate::pam::PamFiles;

const STAMP: &str = "session required pam_exec.so quiet /usr/sbin/vctl-agent stamp\n";

fn config() -> Config {
    Config::default()
}

/// Returns the facts of a Debian machine that has everything.
fn debian() -> HostFacts {
    let stack = format!(
        "session required pam_loginuid.so\n@include common-session\n{STAMP}session required pam_env.so user_readenv=1\n"
    );
    HostFacts {
        is_root: true,
        stamp_programs: std::iter::once(("/usr/sbin/vctl-agent".to_owned(), true)).collect(),
        kernel: Some("6.1.0-18-amd64".to_owned()),
        bpf: Some(Ok(())),
        has_host_pids: Some(true),
        btf_tracepoints: Some(TRACEPOINTS.to_vec()),
        mountinfo: "22 1 0:21 / /sys rw - sysfs sysfs rw\n\
                    30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                    31 22 0:27 / /sys/fs/bpf rw - bpf bpf rw\n"
            .to_owned(),
        exec_exits: ExecExitFact::Refused("EPERM".to_owned()),
        has_exec_tracepoint: true,
        has_audit_ids: true,
        sshd: SshdFact::Effective("usepam yes\n".to_owned()),
        pam_files: PamFiles::of(&[
            ("sshd", &stack),
            ("common-session", "session optional pam_systemd.so\n"),
        ]),
        pins: crate::check::facts::PinFact::default(),
        socket: SocketFact::Answers,
        has_active_collector: false,
        spool: Some(SpoolFact {
            existing: "/var/lib/vctl/spool".into(),
            free_bytes: 50 << 30,
            owner_and_mode: Some((0, 0o700)),
        }),
        clock_synchronized: Some(true),
        lockdown: Some("none [integrity] confidentiality\n".to_owned()),
        selinux_enforcing: None,
        apparmor_profiles: Some("/usr/bin/man (enforce)\n".to_owned()),
        break_glass: BreakGlass::NotConfigured,
        directories: Vec::new(),
        local_log: Some(LocalLogFact {
            socket: "/dev/log",
            exists: true,
            dropped: 0,
        }),
        centre: crate::check::facts::CentreFact::NotConfigured,
        stream: None,
    }
}

fn status(facts: &HostFacts, config: &Config, id: &str) -> Status {
    let report = judge(facts, config);
    let finding = report.findings.iter().find(|finding| finding.id == id);
    finding.unwrap_or_else(|| panic!("no finding {id}")).status
}

fn with_stack(stack: &str) -> HostFacts {
    let mut facts = debian();
    facts.pam_files.insert("sshd", stack);
    facts
}

#[test]
fn a_host_with_everything_passes_every_requirement() {
    let report = judge(&debian(), &config());
    let unmet: Vec<_> = report
        .findings
        .iter()
        .filter(|f| f.status != Status::Pass)
        .collect();
    assert!(unmet.is_empty(), "{unmet:#?}");
}

#[test]
fn a_host_that_cannot_be_read_at_all_fails_without_a_panic() {
    let report = judge(&HostFacts::default(), &config());
    assert!(report.failed());
}

#[test]
fn every_finding_that_is_no_pass_has_a_fix_of_one_line() {
    for facts in [
        HostFacts::default(),
        with_stack(""),
        with_stack("session required pam_x.so\n"),
    ] {
        for finding in judge(&facts, &config()).findings {
            let fix = finding.fix.as_deref().unwrap_or_default();
            assert_eq!(
                fix.is_empty(),
                finding.status == Status::Pass,
                "{}",
                finding.id
            );
            assert!(fix.lines().count() <= 1, "{}", finding.id);
        }
    }
}

#[test]
fn each_broken_requirement_is_named() {
    type Break = fn(&mut HostFacts);
    let breaks: [(&str, Status, Break); 24] = [
        ("root", Status::Fail, |f| f.is_root = false),
        ("kernel", Status::Fail, |f| {
            f.kernel = Some("4.19.0-26-amd64".to_owned());
        }),
        ("kernel", Status::Fail, |f| {
            f.kernel = Some("gibberish".to_owned());
        }),
        ("kernel", Status::Fail, |f| {
            f.kernel = Some("5.14.21".to_owned());
        }),
        ("lockdown", Status::Fail, |f| {
            f.lockdown = Some("none integrity [confidentiality]".to_owned());
        }),
        ("bpf", Status::Fail, |f| {
            f.bpf = Some(Err("EPERM".to_owned()));
        }),
        ("pid_namespace", Status::Fail, |f| {
            f.has_host_pids = Some(false);
        }),
        ("btf", Status::Fail, |f| f.btf_tracepoints = None),
        ("btf", Status::Fail, |f| {
            f.btf_tracepoints = Some(vec!["sched_process_exec"]);
        }),
        ("btf", Status::Fail, |f| {
            f.btf_tracepoints.as_mut().unwrap().pop();
        }),
        ("bpffs", Status::Fail, |f| {
            f.mountinfo = f.mountinfo.replace("- bpf", "- tmpfs");
        }),
        ("failed_exec", Status::Warn, |f| {
            f.exec_exits = ExecExitFact::NotTried;
        }),
        ("tracefs", Status::Warn, |f| f.has_exec_tracepoint = false),
        ("cgroup", Status::Warn, |f| {
            f.mountinfo = f.mountinfo.replace("cgroup2", "cgroup");
        }),
        ("audit_ids", Status::Warn, |f| f.has_audit_ids = false),
        ("sshd", Status::Warn, |f| f.sshd = SshdFact::NotInstalled),
        ("sshd", Status::Fail, |f| {
            f.sshd = SshdFact::Effective("usepam no".to_owned());
        }),
        ("mac", Status::Warn, |f| f.selinux_enforcing = Some(true)),
        ("mac", Status::Warn, |f| {
            f.apparmor_profiles = Some("/usr/sbin/sshd (enforce)".to_owned());
        }),
        ("spool", Status::Warn, |f| {
            f.spool.as_mut().unwrap().free_bytes = 100 << 20;
        }),
        ("spool", Status::Fail, |f| {
            f.spool.as_mut().unwrap().free_bytes = 1 << 20;
        }),
        ("spool", Status::Fail, |f| {
            f.spool.as_mut().unwrap().owner_and_mode = Some((0, 0o755));
        }),
        ("clock", Status::Warn, |f| {
            f.clock_synchronized = Some(false);
        }),
        ("socket", Status::Warn, |f| f.socket = SocketFact::Stale),
    ];
    for (id, expected, break_it) in breaks {
        let mut facts = debian();
        break_it(&mut facts);
        assert_eq!(status(&facts, &config(), id), expected, "{id}");
        let others = judge(&facts, &config()).findings;
        let others = others
            .iter()
            .filter(|f| f.id != id && f.status == Status::Fail)
            .count();
        assert_eq!(others, 0, "{id} breaks more than itself");
    }
}

#[test]
fn the_oldest_kernel_that_passes_is_5_15() {
    for (release, expected) in [
        ("5.14.21", Status::Fail),
        ("5.15.0-25-generic", Status::Pass),
        ("6.1.0-18-amd64", Status::Pass),
    ] {
        let mut facts = debian();
        facts.kernel = Some(release.to_owned());
        assert_eq!(status(&facts, &config(), "kernel"), expected, "{release}");
    }
}

#[test]
fn a_certificate_the_user_can_forge_through_pam_env_fails() {
    let forged = format!(
        "session required pam_loginuid.so\nsession required pam_env.so user_readenv=1\n{STAMP}"
    );
    assert_eq!(
        status(&with_stack(&forged), &config(), "pam_env"),
        Status::Fail
    );
}

#[test]
fn the_place_of_the_stamp_is_judged_against_its_neighbours() {
    let early = format!("{STAMP}session required pam_loginuid.so\n@include common-session\n");
    assert_eq!(
        status(&with_stack(&early), &config(), "pam_loginuid"),
        Status::Warn
    );
    assert_eq!(
        status(&with_stack(&early), &config(), "pam_systemd"),
        Status::Warn
    );
    assert_eq!(
        status(&with_stack(""), &config(), "pam_stamp"),
        Status::Fail
    );
    assert_eq!(
        status(&with_stack(STAMP), &config(), "pam_loginuid"),
        Status::Fail
    );
}

#[test]
fn the_control_of_the_line_has_to_fit_the_mode() {
    let mut strict = config();
    strict.mode = Mode::Strict;
    let optional = with_stack(&STAMP.replace("required", "optional"));
    for (config, name) in [(config(), "best-effort"), (strict, "strict")] {
        assert_eq!(
            status(&debian(), &config, "pam_stamp"),
            Status::Pass,
            "{name}"
        );
        assert_eq!(
            status(&optional, &config, "pam_stamp"),
            Status::Fail,
            "{name}"
        );
    }
}

#[test]
fn two_stamps_of_one_login_fail_and_are_named() {
    let mut facts = debian();
    for name in ["common-session", "common-auth"] {
        facts
            .pam_files
            .insert(name, &format!("session optional pam_systemd.so\n{STAMP}"));
    }
    let report = judge(&facts, &config());
    let found = report
        .findings
        .iter()
        .find(|f| f.id == "pam_stamp")
        .unwrap();
    assert_eq!(found.status, Status::Fail);
    assert!(
        found.seen.contains("/etc/pam.d/common-session line 2")
            && found.seen.contains("/etc/pam.d/sshd line 3"),
        "{found:?}"
    );
    assert!(!found.seen.contains("common-auth"), "{found:?}");
}

#[test]
fn a_collector_without_its_socket_is_restarted() {
    for (has_active_collector, fix) in [(false, "start it: "), (true, "restart it: ")] {
        let facts = HostFacts {
            socket: SocketFact::Absent,
            has_active_collector,
            ..debian()
        };
        let findings = judge(&facts, &config()).findings;
        let found = findings.iter().find(|finding| finding.id == "socket");
        let found = found.unwrap().fix.as_deref().unwrap();
        assert!(found.starts_with(fix), "{found}");
    }
}

#[test]
fn a_line_above_the_stamp_must_not_skip_it() {
    let rule = "pam_succeed_if.so quiet user = backup\n";
    for (control, expected) in [
        ("sufficient", Status::Fail),
        ("[success=done default=ignore]", Status::Fail),
        ("[success=3 default=ignore]", Status::Fail),
        ("optional", Status::Pass),
        // As a break-glass line.
        ("[success=1 default=ignore]", Status::Pass),
    ] {
        let facts = with_stack(&format!(
            "session required pam_loginuid.so\nsession {control} {rule}{STAMP}session optional pam_a.so\n\
             session optional pam_b.so\n"
        ));
        assert_eq!(
            status(&facts, &config(), "pam_stamp"),
            expected,
            "{control}"
        );
    }
}

#[test]
fn a_line_whose_program_is_missing_fails() {
    let mut facts = debian();
    let program = "/usr/sbin/vctl-agent".to_owned();
    facts.stamp_programs.insert(program.clone(), false);
    assert_eq!(status(&facts, &config(), "pam_stamp"), Status::Fail);
    facts.stamp_programs.insert(program, true);
    assert_eq!(status(&facts, &config(), "pam_stamp"), Status::Pass);
}

#[test]
fn strict_wants_a_break_glass_group_that_exists_and_has_members() {
    let mut strict = config();
    strict.mode = Mode::Strict;
    let with = |break_glass| HostFacts {
        break_glass,
        ..debian()
    };
    for (fact, expected) in [
        (BreakGlass::NotConfigured, Status::Warn),
        (BreakGlass::NoSuchGroup, Status::Fail),
        (BreakGlass::Group { members: 0 }, Status::Warn),
        (BreakGlass::Group { members: 2 }, Status::Pass),
    ] {
        assert_eq!(
            status(&with(fact), &strict, "break_glass"),
            expected,
            "{fact:?}"
        );
    }
}

#[test]
fn another_pam_service_of_sshd_is_the_one_that_is_looked_at() {
    let mut facts = debian();
    facts.sshd = SshdFact::Effective("usepam yes\npamservicename corp-ssh\n".to_owned());
    assert_eq!(status(&facts, &config(), "pam_stamp"), Status::Fail);
    let stack = format!("session required pam_loginuid.so\n{STAMP}");
    facts.pam_files.insert("corp-ssh", &stack);
    assert_eq!(status(&facts, &config(), "pam_stamp"), Status::Pass);
}

#[test]
fn lines_that_the_log_daemon_did_not_take_are_a_warning() {
    for (exists, dropped, expected) in [
        (true, 0, Status::Pass),
        (true, 1, Status::Warn),
        (false, 0, Status::Warn),
    ] {
        let mut facts = debian();
        facts.local_log = facts.local_log.map(|log| LocalLogFact {
            exists,
            dropped,
            ..log
        });
        assert_eq!(status(&facts, &config(), "local_log"), expected);
    }
}

#[test]
fn tracefs_is_needed_only_without_probes_at_the_exit_of_exec() {
    let source = || "`full` in /sys/kernel/debug/sched/preempt".to_owned();
    let attached = |preemptible_by| ExecExitFact::Attached { preemptible_by };
    let accepted = |is_other_pinned| ExecExitFact::Accepted { is_other_pinned };
    for (exec_exits, tracefs, failed_exec) in [
        (attached(None), Status::Pass, Status::Pass),
        (attached(Some(source())), Status::Pass, Status::Warn),
        (accepted(false), Status::Pass, Status::Pass),
        (accepted(true), Status::Warn, Status::Warn),
        (ExecExitFact::Skipped, Status::Warn, Status::Pass),
        (
            ExecExitFact::Preemptible(source()),
            Status::Warn,
            Status::Pass,
        ),
        (
            ExecExitFact::Refused("EPERM".to_owned()),
            Status::Warn,
            Status::Pass,
        ),
    ] {
        let facts = HostFacts {
            exec_exits,
            has_exec_tracepoint: false,
            ..debian()
        };
        assert_eq!(status(&facts, &config(), "tracefs"), tracefs);
        assert_eq!(status(&facts, &config(), "failed_exec"), failed_exec);
    }
}

#[test]
fn a_preemptible_kernel_is_named_with_its_source() {
    let source = "`preempt=full` in /proc/cmdline";
    let attached = ExecExitFact::Attached {
        preemptible_by: Some(source.to_owned()),
    };
    for exec_exits in [attached, ExecExitFact::Preemptible(source.to_owned())] {
        let facts = HostFacts {
            exec_exits,
            ..debian()
        };
        let text = judge(&facts, &config()).to_text();
        assert!(text.contains(source), "{text}");
    }
}

#[test]
fn every_finding_is_documented() {
    let document = include_str!("../../../../docs/agent-check.md");
    for facts in [debian(), HostFacts::default()] {
        for finding in judge(&facts, &config()).findings {
            assert!(
                document.contains(&format!("| `{}` |", finding.id)),
                "{}",
                finding.id
            );
        }
    }
}

#[test]
fn the_json_is_as_documented() {
    let mut facts = debian();
    facts.kernel = Some("4.4".to_owned());
    let json: serde_json::Value =
        serde_json::from_str(&judge(&facts, &config()).to_json()).unwrap();
    assert_eq!(
        (&json["version"], &json["status"]),
        (&1.into(), &"fail".into())
    );
    for finding in json["findings"].as_array().unwrap() {
        assert!(finding["id"].is_string() && finding["seen"].is_string());
        assert_eq!(finding.get("fix").is_none(), finding["status"] == "pass");
    }
}

#[test]
fn text_of_the_host_cannot_write_to_the_terminal() {
    let mut facts = debian();
    facts.kernel = Some("6.1\u{1b}]0;owned\u{7}".to_owned());
    assert!(!judge(&facts, &config()).to_text().contains('\u{1b}'));
}

#[test]
fn pins_that_others_can_change_or_that_lack_a_link_fail() {
    let mut facts = debian();
    facts.pins.open_above = Some(0o1777);
    assert_eq!(status(&facts, &config(), "pins"), Status::Warn);
    facts.pins.missing_links = vec!["link_process_exec".to_owned()];
    assert_eq!(status(&facts, &config(), "pins"), Status::Fail);
    facts.pins = crate::check::facts::PinFact {
        untrusted: Some("`/sys/fs/bpf/vctl` belongs to another user".to_owned()),
        ..Default::default()
    };
    assert_eq!(status(&facts, &config(), "pins"), Status::Fail);
}
