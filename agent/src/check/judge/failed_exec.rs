//! Judges how failed execs are recorded.

use crate::check::facts::{ExecExitFact, HostFacts};
use crate::check::report::Finding;
use crate::config::Config;

pub(super) fn probes(facts: &HostFacts, config: &Config) -> Finding {
    let id = "failed_exec";
    if !config.failed_exec {
        return Finding::pass(id, "not recorded: `failed_exec` is off");
    }
    match &facts.exec_exits {
        ExecExitFact::Attached {
            preemptible_by: None,
        } => Finding::pass(
            id,
            "failed execs are recorded at the exit of exec: other system calls cost nothing",
        ),
        ExecExitFact::Attached {
            preemptible_by: Some(source),
        } => Finding::warn(
            id,
            format!(
                "failed execs are recorded at the exit of exec, where this preemptible kernel ({source}) may skip one"
            ),
            "restart the collector: it records them at the end of system calls as soon as no session is open",
        ),
        ExecExitFact::Preemptible(source) => Finding::pass(
            id,
            format!(
                "failed execs are recorded at the end of system calls, which slows all of them while a session is \
                 open, because this kernel is preemptible: {source}"
            ),
        ),
        ExecExitFact::Accepted {
            is_other_pinned: false,
        } => Finding::pass(
            id,
            "the kernel runs probes at the exit of exec: failed execs cost other system calls nothing",
        ),
        ExecExitFact::Accepted {
            is_other_pinned: true,
        } => Finding::warn(
            id,
            "failed execs are recorded at the end of system calls, but the kernel runs probes at the exit of exec",
            "when no session is open: vctl-agent detach, then start the collector again",
        ),
        ExecExitFact::Refused(why) => Finding::pass(
            id,
            format!(
                "failed execs are recorded at the end of system calls, which slows all of them while a session is \
                 open: {why}"
            ),
        ),
        ExecExitFact::Skipped => Finding::pass(
            id,
            "failed execs are recorded at the end of system calls, which slows all of them while a session is open: \
             this preemptible kernel has skipped a probe at the exit of exec",
        ),
        ExecExitFact::NotTried => Finding::warn(
            id,
            "a probe at the exit of exec was not tried",
            "run as root",
        ),
    }
}

pub(super) fn tracefs(facts: &HostFacts, config: &Config) -> Finding {
    let id = "tracefs";
    if !config.failed_exec {
        return Finding::pass(id, "not needed: `failed_exec` is off");
    }
    let is_needed = !matches!(
        facts.exec_exits,
        ExecExitFact::Attached { .. }
            | ExecExitFact::Accepted {
                is_other_pinned: false
            }
    );
    if !is_needed {
        return Finding::pass(
            id,
            "not needed: failed execs are recorded at the exit of exec",
        );
    }
    if facts.has_exec_tracepoint {
        return Finding::pass(
            id,
            "failed execs can be recorded at the end of system calls",
        );
    }
    Finding::warn(
        id,
        "no syscall tracepoints: an exec that fails is not recorded",
        "mount -t tracefs tracefs /sys/kernel/tracing, or set `failed_exec: false`",
    )
}
