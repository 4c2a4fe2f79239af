//! Whatever was recorded, every renderer ends, shows all of it and nothing a terminal obeys.
//! For tests alone.

use proptest::collection::vec;
use proptest::prelude::*;
use vctl_common::event::{
    Attribution, CgroupMoveEvent, EventKind, ExecEvent, ExitEvent, ExitStatus, KernelEvent, Phase,
};
use vctl_common::id::{CgroupId, ProcessId};
use vctl_common::session::GapCause;
use vctl_common::time::BootNs;

use super::live::Live;
use super::{BAD, BOLD, DIM, Layout, WARN, json, sanitize, timeline, tree};
use crate::fixture::{Login, exec_event};
use crate::ui::form::Form;
use crate::view::{Event, History, Hole};

/// Few pids and few starts, so that processes meet, repeat and claim each other as parents.
fn process() -> impl Strategy<Value = ProcessId> {
    (0..6_u32, 0..6_u64).prop_map(|(tgid, start)| ProcessId {
        tgid,
        start: BootNs(start),
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let chosen = [
        "\x1b[2J",
        "\u{202e}",
        "\u{9b}0m",
        "\n-- gap --",
        "\u{200b}",
        "\\",
        "'",
    ];
    prop_oneof![
        vec(any::<u8>(), 0..6),
        prop::sample::select(chosen.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
    ]
}

fn exec() -> impl Strategy<Value = Box<ExecEvent>> {
    (
        process(),
        vec(bytes(), 0..4),
        bytes(),
        bytes(),
        any::<[bool; 8]>(),
        0..3_u32,
    )
        .prop_map(|(parent, argv, path, filename, flags, uid)| {
            let mut exec = exec_event(1, 1, &[]);
            exec.argv = argv;
            exec.parent = parent;
            exec.cwd.clone_from(&path);
            exec.exe.path = path;
            exec.filename = filename;
            [exec.script, exec.exe.memfd, exec.exe.deleted, exec.redacted] =
                [flags[0], flags[1], flags[2], flags[3]];
            [
                exec.argv_truncated,
                exec.argv_fault,
                exec.other_audit_session,
                exec.other_cgroup,
            ] = [flags[4], flags[5], flags[6], flags[7]];
            exec.euid = uid;
            Box::new(exec)
        })
}

fn kind() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        exec().prop_map(EventKind::Exec),
        (any::<u32>(), exec()).prop_map(|(errno, exec)| EventKind::ExecFailed { errno, exec }),
        (process(), any::<u32>()).prop_map(|(parent, status)| EventKind::Exit(ExitEvent {
            parent,
            status: ExitStatus::from_wait(status),
            euid: 0,
            alive: 0,
        })),
        any::<(u64, u64, Option<u64>)>().prop_map(|(from, to, by_session)| {
            EventKind::CgroupMove(CgroupMoveEvent {
                from: CgroupId(from),
                to: CgroupId(to),
                by_session,
                by_tgid: 1,
            })
        }),
    ]
}

fn history() -> impl Strategy<Value = History> {
    let attribution = prop::sample::select(vec![
        Attribution::Lineage,
        Attribution::AuditSession,
        Attribution::ProcessTree,
        Attribution::Unattributed,
    ]);
    let at = || prop_oneof![0..9_u64, any::<u64>()].prop_map(BootNs);
    let event = (process(), at(), any::<u64>(), attribution, kind());
    let hole = (any::<Option<u64>>(), at(), at());
    (vec(event, 0..20), vec(hole, 0..3), bytes(), any::<bool>()).prop_map(
        |(events, holes, name, closed)| {
            let mut login = Login::of_alice();
            let session = login.session();
            session.host = String::from_utf8_lossy(&name).into_owned();
            session.opened.login_user.clone_from(&session.host);
            session.holes = holes
                .into_iter()
                .map(|(events, from, to)| Hole {
                    events,
                    cause: Some(GapCause::RingFull),
                    from,
                    to,
                })
                .collect();
            let wall = session.wall;
            let mut history = if closed { login.closed() } else { login.open() };
            history.events = events
                .into_iter()
                .map(|(process, at, session_seq, attribution, kind)| Event {
                    time: wall.wall_time(at),
                    event: KernelEvent {
                        process,
                        session_seq,
                        cpu: 0,
                        cpu_seq: 0,
                        at,
                        attribution,
                        phase: Phase::User,
                        kind,
                    },
                })
                .collect();
            history
        },
    )
}

fn page(render: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut page = Vec::new();
    render(&mut page).unwrap();
    let mut page = String::from_utf8(page).unwrap();
    for style in [BAD, BOLD, DIM, WARN] {
        page = page.replace(&style.render().to_string(), "");
    }
    page.replace(&BOLD.render_reset().to_string(), "")
}

fn programs(history: &History) -> usize {
    let is_program = |event: &&Event| {
        let kind = &event.event.kind;
        matches!(kind, EventKind::Exec(_) | EventKind::ExecFailed { .. })
    };
    history.events.iter().filter(is_program).count()
}

const FULL: Layout = Layout {
    width: None,
    full: true,
};

proptest! {
    #[test]
    fn no_record_makes_a_renderer_fail_or_a_terminal_obey(history in history()) {
        let mut live = Live::new(FULL);
        let pages = [
            page(|out| timeline::write(out, &history, FULL)),
            page(|out| timeline::write(out, &history, Layout { width: Some(60), full: false })),
            page(|out| tree::write(out, &history, FULL)),
            page(|out| tree::write(out, &history, Layout { width: Some(60), full: false })),
            page(|out| json::write_histories(out, Form::Json, std::slice::from_ref(&history))),
            page(|out| {
                for event in &history.events {
                    live.event(out, &history.session, event)?;
                }
                live.closed(out, &history.session)
            }),
        ];
        for page in pages {
            let obeyed = page.chars().find(|&c| c != '\n' && !sanitize::is_plain(c));
            prop_assert_eq!(obeyed, None, "{}", page);
        }
    }

    #[test]
    fn every_program_is_shown_exactly_once_whatever_claims_to_be_its_parent(history in history()) {
        // `cwd` stands once below each program.
        let count = |page: &str| page.lines().filter(|line| line.starts_with("    cwd ")).count();
        let tree = page(|out| tree::write(out, &history, FULL));
        prop_assert_eq!(count(&tree), programs(&history), "{}", tree);
        let timeline = page(|out| timeline::write(out, &history, FULL));
        prop_assert_eq!(count(&timeline), programs(&history), "{}", timeline);
    }
}
