//! `--path`, `--exit`, `--failed` and `--root` select programs of an export.

use serde_json::Value;
use vctl_common::id::SessionId;
use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::time::BootNs;

use super::{Exporting, HOST, events_of};

/// Returns action and number of each event of a session, as in `exec 3`, without its opening and end.
fn parts(events: &[Value], id: SessionId) -> Vec<String> {
    let id = id.to_string();
    let of_session = events
        .iter()
        .filter(|event| event["vctl"]["session"]["id"] == id);
    let numbered = of_session.filter_map(|event| {
        let action = event["event"]["action"].as_str()?;
        Some(format!("{action} {}", event["event"]["sequence"].as_u64()?))
    });
    numbered.collect()
}

#[test]
fn an_export_sends_programs_by_path_end_and_user() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let id = exporting.source.log_in(7).unwrap();
    let source = &mut exporting.source;
    // 1 to 8: four programs with their exits.
    for (path, uid, status) in [
        ("/usr/bin/passwd", 0, 0),
        ("/usr/bin/grep", 1000, 1 << 8),
        ("/opt/my_tool", 1000, 15),
        ("/usr/bin/grep", 1000, 0),
    ] {
        let program = source.start_program(id, path, uid).unwrap();
        source.end_program(id, program, status).unwrap();
    }
    // 9 to 11: a process replaces its program.
    let wrapper = source.start_program(id, "/opt/wrapper", 1000).unwrap();
    source
        .replace_program(id, wrapper, "/opt/last", 1000)
        .unwrap();
    source.end_program(id, wrapper, 3 << 8).unwrap();
    // 12: a process that only forked.
    source.end_program(id, 99, 0).unwrap();
    let at = BootNs(source.tick());
    let gap = Gap::new(GapCause::RingFull, Some(id), at, at).with_events(74_001);
    source.note(&JournalEntry::Gap(gap)).unwrap();
    source.log_out(id).unwrap();
    exporting.wait_for_end(id);
    let exported = |conditions: &[&str]| {
        let args = [&["session", "export", "--host", HOST], conditions].concat();
        let events = events_of(exporting.command(&args));
        let of_session = |action: &str| {
            let of_session = events.iter().filter(|event| {
                event["event"]["action"] == action
                    && event["vctl"]["session"]["id"] == id.to_string()
            });
            of_session.count()
        };
        // The conditions concern only programs.
        for action in ["session-opened", "session-closed", "events-missing"] {
            assert_eq!(of_session(action), 1, "{conditions:?}: {action}");
        }
        parts(&events, id)
    };
    let [first, second, fourth] = [
        ["exec 1", "exit 2"],
        ["exec 3", "exit 4"],
        ["exec 7", "exit 8"],
    ];
    assert_eq!(
        exported(&["--path", "/usr/bin/*"]),
        [first, second, fourth].concat()
    );
    assert_eq!(exported(&["--path", "grep"]), [second, fourth].concat());
    assert_eq!(exported(&["--path", "wrapper"]), ["exec 9"]);
    assert_eq!(exported(&["--path", "last"]), ["exec 10", "exit 11"]);
    assert_eq!(exported(&["--root"]), first);
    let failed = ["exec 3", "exit 4", "exec 5", "exit 6", "exec 10", "exit 11"];
    assert_eq!(exported(&["--failed"]), failed);
    assert_eq!(exported(&["--exit", "1"]), second);
    assert_eq!(exported(&["--exit", "0", "--path", "grep"]), fourth);
    assert_eq!(exported(&["--failed", "--root"]), [""; 0]);
    let empty = exporting.command(&["session", "export", "--path", ""]);
    assert_eq!({ empty }.output().unwrap().status.code(), Some(2));
}

#[test]
fn a_program_that_ends_after_a_restart_is_selected() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let id = exporting.source.log_in(7).unwrap();
    let [tool, other] = ["/opt/late_tool", "/opt/other"]
        .map(|path| exporting.source.start_program(id, path, 1000).unwrap());
    exporting.wait_for(&exporting.source.sessions.clone());
    let (by_path, by_end) = (exporting.file("by-path"), exporting.file("by-end"));
    let path = ["--path", "late_tool"];
    let exported = |exporting: &Exporting| {
        let by_end_too = [&path[..], &["--exit", "9"]].concat();
        [
            exporting.export(&by_path, &path),
            exporting.export(&by_end, &by_end_too),
        ]
        .map(|command| parts(&events_of(command), id))
    };
    assert_eq!(exported(&exporting), [vec!["exec 1".to_owned()], vec![]]);
    for program in [other, tool] {
        exporting.source.end_program(id, program, 9 << 8).unwrap();
    }
    exporting.wait_for(&exporting.source.sessions.clone());
    let ended = [vec!["exit 4"], vec!["exec 1", "exit 4"]];
    assert_eq!(exported(&exporting), ended);
    assert_eq!(exported(&exporting), [[""; 0]; 2]);
    let output = exporting.export(&by_path, &["--path", "other"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
