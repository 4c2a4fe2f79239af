//! Events of processes with the names of ECS.

use std::time::SystemTime;

use serde_json::{Value, json};
use vctl_common::event::{EventKind, ExecEvent, ExitEvent, ExitStatus};
use vctl_common::id::{BootId, ProcessId};
use vctl_common::time::BootNs;

use super::text::{hex_if_needed, name_of, text};
use crate::session::json::event::{attribution, phase};
use crate::session::linux::{errno_name, signal_name};
use crate::session::model::Event;
use crate::ui::time;

/// The words of ECS for an event, and its fields.
pub(super) struct Parts {
    pub(super) action: &'static str,
    pub(super) phase: &'static str,
    pub(super) outcome: Option<&'static str>,
    pub(super) fields: Value,
}

/// Returns the parts of an event.
pub(super) fn parts(event: &Event, boot: BootId) -> Parts {
    let kernel = &event.event;
    let (action, ecs_phase, outcome, fields) = match &kernel.kind {
        EventKind::Exec(exec) => ("exec", "start", Some("success"), exec_fields(exec, boot)),
        EventKind::ExecFailed { errno, exec } => {
            let mut fields = exec_fields(exec, boot);
            super::merge(
                &mut fields,
                json!({ "error": { "code": errno_name(*errno) } }),
            );
            ("exec-failed", "start", Some("failure"), fields)
        }
        EventKind::Exit(exit) => {
            let outcome = match exit.status {
                ExitStatus::Code(0) => "success",
                _ => "failure",
            };
            ("exit", "end", Some(outcome), exit_fields(event, exit, boot))
        }
        EventKind::CgroupMove(moved) => {
            let fields = json!({ "vctl": { "cgroup_move": {
                "from": moved.from.0.to_string(),
                "to": moved.to.0.to_string(),
                "by_pid": moved.by_tgid,
            } } });
            ("cgroup-move", "change", None, fields)
        }
    };
    let mut common = json!({
        "event": { "sequence": kernel.session_seq },
        "process": {
            "pid": kernel.process.tgid,
            "entity_id": entity_id(boot, kernel.process),
            "start": started(event, kernel.process.start).map(time::nanos),
        },
        "vctl": { "process": {
            "phase": phase(kernel.phase),
            "attribution": attribution(kernel.attribution),
        } },
    });
    super::merge(&mut common, fields);
    Parts {
        action,
        phase: ecs_phase,
        outcome,
        fields: common,
    }
}

/// Returns a name for a process. No other process of any host has the same name.
pub(super) fn entity_id(boot: BootId, process: ProcessId) -> String {
    format!("{boot}/{}/{}", process.tgid, process.start.0)
}

fn started(event: &Event, start: BootNs) -> Option<SystemTime> {
    event.time.checked_sub(event.event.at.since(start))
}

fn exec_fields(exec: &ExecEvent, boot: BootId) -> Value {
    let args: Vec<String> = exec.argv.iter().map(|item| text(item)).collect();
    let tty = exec
        .tty
        .map(|tty| json!({ "char_device": { "major": tty.0.major, "minor": tty.0.minor } }));
    json!({
        "process": {
            "executable": text(&exec.exe.path),
            "name": text(name_of(&exec.exe.path)),
            "command_line": args.join(" "),
            "args_count": exec.argc,
            "args": args,
            "working_directory": text(&exec.cwd),
            "parent": parent(exec.parent, boot),
            "user": { "id": exec.euid.to_string() },
            "group": { "id": exec.egid.to_string() },
            "real_user": { "id": exec.ruid.to_string() },
            "real_group": { "id": exec.rgid.to_string() },
            "tty": tty,
        },
        "vctl": { "process": {
            "file_name": text(&exec.filename),
            "script": exec.script,
            "memfd": exec.exe.memfd,
            "deleted": exec.exe.deleted,
            "redacted": exec.redacted,
            "args_truncated": exec.argv_truncated,
            "args_hex": hex_if_needed(exec.argv.iter().map(Vec::as_slice)),
            "paths_hex": hex_if_needed(
                [&*exec.exe.path, &*exec.cwd, &*exec.filename].into_iter()
            ),
            "other_audit_session": exec.other_audit_session,
            "other_cgroup": exec.other_cgroup,
        } },
    })
}

fn exit_fields(event: &Event, exit: &ExitEvent, boot: BootId) -> Value {
    let (code, signal, core_dumped) = match exit.status {
        ExitStatus::Code(code) => (Some(code), None, false),
        ExitStatus::Signal {
            signal,
            core_dumped,
        } => (None, Some(signal_name(signal)), core_dumped),
    };
    let kernel = &event.event;
    let nanos = kernel.at.since(kernel.process.start).as_nanos();
    json!({
        "event": { "duration": u64::try_from(nanos).unwrap_or(u64::MAX) },
        "process": {
            "exit_code": code,
            "end": time::nanos(event.time),
            "parent": parent(exit.parent, boot),
            "user": { "id": exit.euid.to_string() },
        },
        "vctl": { "process": { "signal": signal, "core_dumped": core_dumped } },
    })
}

fn parent(parent: ProcessId, boot: BootId) -> Value {
    json!({ "pid": parent.tgid, "entity_id": entity_id(boot, parent) })
}
