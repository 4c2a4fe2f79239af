//! The whole path of two users and an auditor through OpenBao, Postgres, sshd and the kernel: `vctl login`, `vctl ssh`,
//! work, `vctl audit`, `vctl session`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vctl_tests::centre::Centre;
use vctl_tests::lab::{Programs, missing};

/// The number of lines that each user types. Each line contains `NAME-NUMBER` as a word.
const LINES: usize = 6;

#[test]
fn two_people_on_one_account_are_told_apart() {
    // The spec reports missing parts, or fails if no part may be missing.
    if Centre::shared().is_none() || missing().is_some() {
        return;
    }
    let program = Programs::find().unwrap().directory.join("demo");
    let record = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args(["--centre", "--record"])
        .arg(record.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    let accesses = read(record.path(), "audit.json");
    let accesses = accesses["accesses"].as_array().unwrap();
    assert_eq!(accesses.len(), 2, "{accesses:#?}");
    for name in ["alice", "bob"] {
        let document = read(record.path(), &format!("{name}.json"));
        let sessions = document["sessions"].as_array().unwrap();
        assert_eq!(sessions.len(), 1, "{document:#}");
        let session = &sessions[0];
        assert_eq!(session["complete"], true, "{name}");
        assert_eq!(session["verified"], true, "{name}");
        assert_eq!(marks(session), expected(name), "{name}");

        let access = accesses
            .iter()
            .find(|access| access["serial"] == session["serial"])
            .unwrap();
        assert_eq!(access["name"], name, "{access:#}");
        assert_eq!(
            access["sessions"].as_array().unwrap().len(),
            1,
            "{access:#}"
        );
        let requests = session["requests"].as_array().unwrap();
        assert_eq!(requests.len(), 1, "{name}");
        assert_eq!(requests[0]["same_person"], true, "{name}");
        assert_eq!(session["contradictions"], serde_json::json!([]), "{name}");
    }
}

fn read(directory: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(directory.join(name)).unwrap()).unwrap()
}

fn expected(name: &str) -> BTreeSet<String> {
    (1..=LINES).map(|line| format!("{name}-{line}")).collect()
}

/// Returns the marks of both users that occur in the arguments of a session.
fn marks(session: &Value) -> BTreeSet<String> {
    let events = session["events"].as_array().unwrap();
    let arguments = events.iter().filter_map(|event| event["argv"].as_array());
    let arguments: Vec<_> = arguments.flatten().filter_map(Value::as_str).collect();
    let all = expected("alice").into_iter().chain(expected("bob"));
    all.filter(|mark| arguments.iter().any(|text| text.contains(mark)))
        .collect()
}
