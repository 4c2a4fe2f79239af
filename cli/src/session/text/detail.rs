//! `--full`: every recorded field of an event, below its line.

use std::io::{self, Write};

use vctl_common::event::{EventKind, ExecEvent, Executable, KernelEvent};

use crate::session::model::timeline::{EndReason, Entry, EntryKind};
use crate::ui::sanitize::text;
use crate::ui::{DIM, time};

pub(crate) fn write(out: &mut dyn Write, entry: &Entry) -> io::Result<()> {
    let Some(event) = entry.event else {
        return Ok(());
    };
    let mut field = |name: &str, value: String| writeln!(out, "    {DIM}{name:8}{DIM:#} {value}");
    let event_fields = event_fields(&event.event);
    match &event.event.kind {
        EventKind::Exec(exec) | EventKind::ExecFailed { exec, .. } => {
            // A failed exec has no executed file.
            if !exec.exe.path.is_empty() {
                field("exe", exe_field(&exec.exe))?;
            }
            for (name, value) in exec_fields(exec) {
                field(name, value)?;
            }
        }
        EventKind::Exit(exit) => field(
            "parent",
            format!(
                "{} started at boot + {} ns",
                exit.parent.tgid, exit.parent.start.0
            ),
        )?,
        EventKind::CgroupMove(moved) => {
            let by = moved.by_session.map_or_else(
                || "no session".to_owned(),
                |mark| format!("mark {mark:016x}"),
            );
            field("by", format!("pid {}, {by}", moved.by_tgid))?;
        }
    }
    if let EntryKind::Program(program) = &entry.kind
        && let Some(end) = program.end
    {
        let how = match end.reason {
            EndReason::Replaced => "replaced by the next program of this pid".to_owned(),
            EndReason::Exited(exit) => format!(
                "euid {}, {} processes of the session left",
                exit.euid, exit.alive
            ),
        };
        field("end", format!("after {} ns, {how}", end.after.as_nanos()))?;
    }
    field("event", event_fields)?;
    field("time", time::nanos(event.time))
}

fn event_fields(event: &KernelEvent) -> String {
    format!(
        "{} of the session, {} of cpu {}, at boot + {} ns, process started at boot + {} ns",
        event.session_seq, event.cpu_seq, event.cpu, event.at.0, event.process.start.0
    )
}

fn exe_field(exe: &Executable) -> String {
    format!(
        "{}{}, device {}:{} inode {}, links {}",
        text(&exe.path),
        cut(exe.path_truncated),
        exe.device.major,
        exe.device.minor,
        exe.inode,
        exe.links
    )
}

fn cut(is_cut: bool) -> &'static str {
    if is_cut { " (cut)" } else { "" }
}

fn exec_fields(exec: &ExecEvent) -> [(&'static str, String); 6] {
    let number = |number: Option<u32>| number.map_or_else(|| "none".to_owned(), |n| n.to_string());
    [
        ("file", text(&exec.filename)),
        ("cwd", text(&exec.cwd) + cut(exec.cwd_truncated)),
        (
            "argv",
            format!("argc {}, {} bytes", exec.argc, exec.argv_true_len),
        ),
        (
            "parent",
            format!(
                "{} started at boot + {} ns",
                exec.parent.tgid, exec.parent.start.0
            ),
        ),
        (
            "ids",
            format!(
                "ruid {} euid {} rgid {} egid {}, login uid {}, tid {}",
                exec.ruid,
                exec.euid,
                exec.rgid,
                exec.egid,
                number(exec.login_uid),
                exec.tid
            ),
        ),
        (
            "place",
            format!(
                "tty {}, audit session {}, cgroup {}, mount ns {}, pid ns {}",
                exec.tty
                    .map_or_else(|| "none".to_owned(), |tty| tty.to_string()),
                number(exec.audit_session.map(vctl_common::id::AuditSessionId::get)),
                exec.cgroup.0,
                exec.mount_ns,
                exec.pid_ns
            ),
        ),
    ]
}
