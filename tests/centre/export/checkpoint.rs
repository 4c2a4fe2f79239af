//! A checkpoint that cannot be used is an error with the next step, and is never replaced.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::{Exporter, Exporting, HOST, events_of};

#[test]
fn an_unusable_checkpoint_is_refused_with_the_reason() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    exporting.session(3, true);
    exporting.wait_for(&exporting.source.sessions.clone());
    let file = exporting.file("position");
    assert!(!events_of(exporting.export(&file, &[])).is_empty());
    let whole = fs::read_to_string(&file).unwrap();
    let content: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let changed = |field: &str, value: serde_json::Value| {
        let mut content = content.clone();
        content[field] = value;
        content.to_string()
    };
    let half = whole[..whole.len() / 2].to_owned();
    let mut numbers = content.clone();
    numbers["cursor"]["open"] = json!({ "0193f3a1-7c4e-7d61-9f0a-2b5c6d7e8f90":
        { "opening": true, "events": [[5, 2]] } });
    for (text, code, words) in [
        (half, 78, "is damaged"),
        (String::new(), 78, "is damaged"),
        (numbers.to_string(), 78, "ascending order"),
        (changed("version", json!(2)), 78, "has version 2"),
        (
            changed("store", json!("1.2")),
            78,
            "belongs to another central store",
        ),
        (
            changed("export", json!("accesses")),
            2,
            "is of an export of accesses",
        ),
        (
            changed("selection", json!({"host": "other"})),
            2,
            "was begun with `--host other`",
        ),
        (
            changed("selection", json!({"host": HOST, "since": "yesterday"})),
            78,
            "is damaged",
        ),
    ] {
        fs::write(&file, &text).unwrap();
        let output = exporting.export(&file, &[]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            said.contains(words) && output.stdout.is_empty(),
            "{words}: {said}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "{words}");
    }
    fs::write(&file, &whole).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
    let output = exporting.export(&file, &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(
        said.contains("is read-only") && said.contains("chmod"),
        "{said}"
    );
    let nowhere = exporting.file("no/such/directory");
    let output = exporting.export(&nowhere, &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot write the checkpoint"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn two_exports_never_share_a_checkpoint() {
    let Some(exporting) = Exporting::new() else {
        return;
    };
    let file = exporting.file("position");
    let first = Exporter::begin(exporting.export(&file, &["--follow"]));
    first.until("the first export has begun", |_| file.exists());
    // The second one must not end a half line that the first one is writing.
    let shared = exporting.file("session.jsonl");
    fs::write(&shared, "{\"event\":").unwrap();
    let out = fs::File::options().append(true).open(&shared).unwrap();
    let mut second = exporting.export(&file, &[]);
    let output = second.stdout(out).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("another export uses"), "{said}");
    assert_eq!(fs::read_to_string(&shared).unwrap(), "{\"event\":");
    first.kill();
    events_of(exporting.export(&file, &[]));
}

#[test]
fn a_half_line_is_ended_before_new_lines() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let id = exporting.session(3, true);
    exporting.wait_for_end(id);
    let file = exporting.file("session.jsonl");
    fs::write(&file, "{\"event\":{\"id\":\"hal").unwrap();
    for _ in 0..2 {
        let out = fs::File::options().append(true).open(&file).unwrap();
        let mut command = exporting.export(&exporting.file("position"), &[]);
        assert!(command.stdout(out).status().unwrap().success());
    }
    let text = fs::read_to_string(&file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("{\"event\":{\"id\":\"hal"));
    let events: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ours = events
        .iter()
        .filter(|event| event["vctl"]["session"]["id"] == id.to_string());
    assert_eq!(ours.count(), 5);
}
