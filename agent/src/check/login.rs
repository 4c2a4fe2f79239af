//! Judges the path of a login to the stamper: sshd, PAM, the socket.

use std::collections::BTreeMap;

use super::facts::{BreakGlass, HostFacts, SocketFact, SshdFact};
use super::report::Finding;
use super::sshd::settings;
use crate::config::{Config, Mode};
use crate::pam::{self, Module};

pub(super) fn sshd(facts: &HostFacts) -> Finding {
    let id = "sshd";
    let settings = settings(&facts.sshd);
    match (&facts.sshd, settings.use_pam) {
        (SshdFact::NotInstalled, _) => Finding::warn(
            id,
            "no sshd is installed",
            "install the OpenSSH server: apt-get install openssh-server",
        ),
        (_, Some(true)) => Finding::pass(id, "`UsePAM yes`"),
        (_, Some(false)) => Finding::fail(
            id,
            "`UsePAM no`: sshd runs no PAM session, so no login is stamped",
            "set `UsePAM yes` in /etc/ssh/sshd_config and reload sshd",
        ),
        (_, None) => Finding::fail(
            id,
            "`UsePAM` is not set, and sshd's default is no",
            "set `UsePAM yes` in /etc/ssh/sshd_config and reload sshd",
        ),
    }
}

/// Judges the line for `vctl-agent stamp` and its position in the stack.
pub(super) fn pam(facts: &HostFacts, config: &Config) -> Vec<Finding> {
    let settings = settings(&facts.sshd);
    let service = settings.service();
    let file = format!("/etc/pam.d/{service}");
    let Some(stack) = pam::session_stack(&facts.pam_files, service) else {
        return vec![Finding::fail(
            "pam_stamp",
            format!("{file} cannot be read"),
            "run this as root; install the OpenSSH server with its PAM file",
        )];
    };
    let Some(stamp) = stack.iter().position(Module::is_stamp) else {
        return vec![
            Finding::fail(
                "pam_stamp",
                format!("{file} does not run `vctl-agent stamp`"),
                add_line(service),
            ),
            login_uid(&stack, None),
        ];
    };
    vec![
        only_one(&stack)
            .or_else(|| runs_for_all(&stack, stamp))
            .or_else(|| program(&stack[stamp], &facts.stamp_programs))
            .unwrap_or_else(|| control(&stack[stamp], config.mode)),
        login_uid(&stack, Some(stamp)),
        cgroup(&stack, stamp),
        environment(&stack, stamp),
    ]
}

fn add_line(service: &str) -> String {
    let option = match service {
        "sshd" => String::new(),
        service => format!(" --service {service}"),
    };
    format!("add the line: vctl-agent pam-line add{option}")
}

/// A second line would request a second session for the same login.
fn only_one(stack: &[Module]) -> Option<Finding> {
    let stamps = pam::stamps(stack);
    (stamps.len() > 1).then(|| {
        let places: Vec<String> = stamps.iter().map(|stamp| stamp.place()).collect();
        Finding::fail(
            "pam_stamp",
            format!(
                "{} lines run `vctl-agent stamp` for one login: {}",
                places.len(),
                places.join(", ")
            ),
            format!("remove all of them except {}", places[0]),
        )
    })
}

const REQUIRED: &str = "make the PAM line `session required pam_exec.so ...`, as in deploy/audit/pam.d/vctl-stamp; in best-effort mode the hook itself allows a login without a stamp";

/// A line above the stamp can end the stack with success, or skip the stamp: no hook runs then, and no login is refused.
fn runs_for_all(stack: &[Module], stamp: usize) -> Option<Finding> {
    pam::skips_stamp(stack, stamp).map(|module| {
        let place = module.place();
        Finding::fail(
            "pam_stamp",
            format!(
                "{place} is `{}`, so some logins open their session without the stamp",
                module.control
            ),
            "make that line `optional`, or move the stamp's line above it; only a break-glass line may skip the stamp, as \
             in deploy/audit/pam.d/vctl-stamp",
        )
    })
}

/// With a `required` line, a program that cannot run refuses every login.
fn program(stamp: &Module, programs: &BTreeMap<String, bool>) -> Option<Finding> {
    let path = stamp.stamp_program()?;
    (programs.get(path) == Some(&false)).then(|| {
        Finding::fail(
            "pam_stamp",
            format!("the stamp's program `{path}` is missing or not executable"),
            "install vctl-agent there, or remove the PAM line: with it no ssh login is possible",
        )
    })
}

fn control(stamp: &Module, mode: Mode) -> Finding {
    let id = "pam_stamp";
    match (mode, stamp.is_binding()) {
        (Mode::Strict, false) => Finding::fail(
            id,
            format!(
                "the stamp is `{}`, so `mode: strict` refuses no login",
                stamp.control
            ),
            REQUIRED,
        ),
        (Mode::BestEffort, false) => Finding::fail(
            id,
            format!(
                "the stamp is `{}`: a login whose hook cannot start goes on unrecorded, and a large \
                 certificate is enough for that",
                stamp.control
            ),
            REQUIRED,
        ),
        _ => Finding::pass(
            id,
            format!("the stamp is `{}`, the mode is `{mode}`", stamp.control),
        ),
    }
}

fn login_uid(stack: &[Module], stamp: Option<usize>) -> Finding {
    let id = "pam_loginuid";
    match (
        stack
            .iter()
            .position(|module| module.name == "pam_loginuid.so"),
        stamp,
    ) {
        (None, _) => Finding::fail(
            id,
            "no pam_loginuid.so: sessions have no audit session id, so a login without a stamp goes unnoticed and marks cannot be rebuilt",
            "add `session required pam_loginuid.so` above the stamp",
        ),
        (Some(login_uid), Some(stamp)) if login_uid > stamp => Finding::warn(
            id,
            "the stamp runs before pam_loginuid.so and sees no audit session id",
            "move the stamp's line below pam_loginuid.so",
        ),
        _ => Finding::pass(id, "pam_loginuid.so is in the stack, before the stamp"),
    }
}

fn cgroup(stack: &[Module], stamp: usize) -> Finding {
    let id = "pam_systemd";
    match stack
        .iter()
        .position(|module| module.name == "pam_systemd.so")
    {
        Some(systemd) if systemd > stamp => Finding::warn(
            id,
            "the stamp runs before pam_systemd.so and records the cgroup of sshd instead of that of the session",
            "move the stamp's line below `@include common-session`",
        ),
        Some(_) => Finding::pass(id, "each session gets its own cgroup before the stamp"),
        None => Finding::pass(
            id,
            "no pam_systemd.so: cgroups do not identify sessions here",
        ),
    }
}

/// A stamper that runs after this module may read a certificate that the user has forged.
fn environment(stack: &[Module], stamp: usize) -> Finding {
    let id = "pam_env";
    match stack.iter().position(Module::reads_users_environment) {
        Some(module) if module < stamp => Finding::fail(
            id,
            "pam_env.so with `user_readenv=1` runs before the stamp: ~/.pam_environment can forge the certificate",
            "move the stamp's line above pam_env.so, or remove `user_readenv=1`",
        ),
        _ => Finding::pass(
            id,
            "no module before the stamp lets users set its environment",
        ),
    }
}

pub(super) fn socket(facts: &HostFacts, config: &Config) -> Finding {
    let id = "socket";
    let path = config.socket();
    let path = path.display();
    let start = if facts.has_active_collector {
        "restart it: systemctl restart vctl-collect"
    } else {
        "start it: systemctl start vctl-collect"
    };
    match &facts.socket {
        SocketFact::Answers => Finding::pass(id, format!("an agent listens on {path}")),
        SocketFact::Absent => {
            Finding::warn(id, format!("no agent runs: {path} does not exist"), start)
        }
        SocketFact::Stale => Finding::warn(id, format!("no agent listens on {path}"), start),
        SocketFact::Unusable(why) => Finding::fail(
            id,
            why.clone(),
            format!(
                "make root the owner of {}: chown root: and chmod go-w",
                config.run_dir.display()
            ),
        ),
    }
}

pub(super) fn break_glass(facts: &HostFacts, config: &Config) -> Finding {
    let id = "break_glass";
    let group = config.break_glass_group.as_deref().unwrap_or_default();
    let add = format!("add a member: gpasswd -a USER {group}");
    match (config.mode, facts.break_glass) {
        (Mode::BestEffort, BreakGlass::NotConfigured) => {
            Finding::pass(id, "not needed: `best-effort` refuses no login")
        }
        (Mode::Strict, BreakGlass::NotConfigured) => Finding::warn(
            id,
            "`mode: strict` without a break-glass group: only the console works when the agent does not run",
            "set `break_glass_group` to a small group of administrators",
        ),
        (_, BreakGlass::NoSuchGroup) => Finding::fail(
            id,
            format!("group `{group}` does not exist"),
            format!("create it: groupadd {group}"),
        ),
        (_, BreakGlass::Group { members: 0 }) => {
            Finding::warn(id, format!("group `{group}` lists no members"), add)
        }
        (_, BreakGlass::Group { members }) => {
            Finding::pass(id, format!("group `{group}` lists {members} members"))
        }
    }
}
