//! `--path`, `--exit`, `--failed` and `--root` find the same programs in the centre and in the spool.

use serde_json::Value;
use vctl_common::id::SessionId;

use super::Reading;

/// Stores a program of `uid` that ends with `status`, as wait(2) gives it.
fn program(reading: &mut Reading, id: SessionId, path: &str, uid: u32, status: u32) {
    let source = &mut reading.source;
    let program = source.start_program(id, path, uid).unwrap();
    source.end_program(id, program, status).unwrap();
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
    let wrapper = reading.source.start_program(id, "/opt/wrapper", 1000);
    let wrapper = wrapper.unwrap();
    let source = &mut reading.source;
    source
        .replace_program(id, wrapper, "/opt/last", 1000)
        .unwrap();
    source.end_program(id, wrapper, 3 << 8).unwrap();
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
