//! `--path`, `--exit`, `--failed` and `--root` find the same programs in the centre and in the spool.

use std::mem::offset_of;

use serde_json::Value;
use vctl_common::id::SessionId;
use vctl_common::wire::{Exec, Header};
use vctl_tests::ship::{exec, exit};

use super::Reading;

/// Stores a program of `uid` that ends with `status`, as wait(2) gives it.
fn program(reading: &mut Reading, id: SessionId, path: &str, uid: u32, status: u32) {
    let seq = reading.source.sessions[&id] + 1;
    let at = reading.source.tick();
    let argv = format!("{path}\0x\0");
    let mut record = exec(
        id,
        seq,
        at,
        [path.as_bytes(), b"/srv", path.as_bytes(), argv.as_bytes()],
    );
    let euid = offset_of!(Exec, euid);
    record[euid..euid + 4].copy_from_slice(&uid.to_le_bytes());
    reading.source.event(id, &record).unwrap();
    let at = reading.source.tick();
    reading
        .source
        .event(id, &exit(id, seq + 1, at, status))
        .unwrap();
}

/// Stores a process that runs `first`, replaces it by `second`, and ends with `status`.
fn replaced(reading: &mut Reading, id: SessionId, [first, second]: [&str; 2], status: u32) {
    let seq = reading.source.sessions[&id] + 1;
    for (seq, path) in [(seq, first), (seq + 1, second)] {
        let at = reading.source.tick();
        let path = path.as_bytes();
        let record = exec(id, seq, at, [path, b"/srv", path, path]);
        reading.source.event(id, &record).unwrap();
    }
    let at = reading.source.tick();
    let mut record = exit(id, seq + 2, at, status);
    // The process of the two programs.
    let of_program = exec(id, seq + 1, at, [b""; 4]);
    for (from, to) in [
        (offset_of!(Header, tgid), offset_of!(Header, cpu)),
        (offset_of!(Header, start), size_of::<Header>()),
    ] {
        record[from..to].copy_from_slice(&of_program[from..to]);
    }
    reading.source.event(id, &record).unwrap();
}

#[test]
fn filters_find_programs_by_path_end_and_user() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    reading.ship();
    let id = reading.log_in(None).id;
    program(&mut reading, id, "/usr/bin/passwd", 0, 0);
    program(&mut reading, id, "/usr/bin/grep", 1000, 1 << 8);
    program(&mut reading, id, "/opt/my_tool", 1000, 15);
    program(&mut reading, id, "/usr/bin/grep", 1000, 0);
    replaced(&mut reading, id, ["/opt/wrapper", "/opt/last"], 3 << 8);
    reading.log_out(id, 11);
    reading.wait_for(id, 11);
    let id = id.to_string();
    let found = |conditions: &[&str]| {
        let args = [&[&*id, "-o", "json"], conditions].concat();
        let central: Value = reading.json(&[&["session"], &*args].concat());
        let local: Value = serde_json::from_str(&reading.shows_locally(&args)).unwrap();
        let programs = |document: &Value| -> Vec<String> {
            let events = document["sessions"][0]["events"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let argv = events.iter().filter_map(|event| event["argv"][0].as_str());
            argv.map(|path| path.rsplit('/').next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(programs(&central), programs(&local), "{conditions:?}");
        programs(&central)
    };
    assert_eq!(found(&["--path", "/usr/bin/*"]), ["passwd", "grep", "grep"]);
    assert_eq!(found(&["--path", "grep"]), ["grep", "grep"]);
    assert_eq!(found(&["--path", "my?tool"]), ["my_tool"]);
    assert_eq!(found(&["--path", "/usr/bin"]), [""; 0]);
    assert_eq!(found(&["--root"]), ["passwd"]);
    assert_eq!(found(&["--failed"]), ["grep", "my_tool", "last"]);
    assert_eq!(found(&["--exit", "3"]), ["last"]);
    assert_eq!(found(&["--path", "wrapper", "--failed"]), [""; 0]);
    assert_eq!(found(&["--exit", "1"]), ["grep"]);
    assert_eq!(
        found(&["--exit", "0", "--path", "/usr/*"]),
        ["passwd", "grep"]
    );
    assert_eq!(found(&["--exit", "15"]), [""; 0]);
    assert_eq!(found(&["--grep", "grep x", "--failed"]), ["grep"]);
    let output = reading.run(&["session", "--failed", "--exit", "1"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = reading.run(&["session", "--path", ""]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
