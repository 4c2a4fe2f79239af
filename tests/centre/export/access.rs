//! The access log: each beginning and each end is exported once, and `--follow` shows them as they happen.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use vctl_tests::lab::PATIENCE;

use super::{Exporting, events_of, id_of};

/// Adds an access to `host`, and returns its id.
fn open(exporting: &Exporting, host: &str) -> String {
    open_for(exporting, host, "uptime")
}

/// Adds an access that runs `command`, as the client's function does.
fn open_for(exporting: &Exporting, host: &str, command: &str) -> String {
    let sql = format!(
        "insert into vctl.access_log (vault_user, opened_at, hostname, login_user, command, source_ip)
         values ('oidc-dana', now(), '{host}', 'root', '{command}', '192.0.2.7') returning id"
    );
    exporting.centre.ask(&sql).unwrap()
}

fn end(exporting: &Exporting, id: &str, result: &str) {
    let sql = format!(
        "update vctl.access_log set result = '{result}', closed_at = now(), exit_code = 3, error = 'no route'
         where id = {id}"
    );
    exporting.centre.ask(&sql).unwrap();
}

fn actions_of(events: &[Value]) -> Vec<String> {
    let action =
        |event: &Value| format!("{} {}", event["event"]["action"], event["event"]["outcome"]);
    events.iter().map(action).collect()
}

#[test]
fn each_beginning_and_end_is_exported_once() {
    let Some(exporting) = Exporting::new() else {
        return;
    };
    let host = "exported-access";
    let checkpoint = exporting.file("position");
    let export = |args: &[&str]| {
        let mut command = exporting.command(&["audit", "export", "--host", host]);
        command.arg("--checkpoint").arg(&checkpoint).args(args);
        events_of(command)
    };
    let (first, second) = (open(&exporting, host), open(&exporting, host));
    end(&exporting, &first, "ok");
    let begun = export(&[]);
    assert_eq!(
        actions_of(&begun),
        [
            "\"access-opened\" null",
            "\"access-ended\" \"success\"",
            "\"access-opened\" null"
        ]
    );
    end(&exporting, &second, "refused");
    let ended = export(&[]);
    assert_eq!(actions_of(&ended), ["\"access-ended\" \"failure\""]);
    assert_eq!(ended[0]["error"]["message"], "no route");
    assert_eq!(ended[0]["vctl"]["person"]["name"], "dana");
    assert_eq!(ended[0]["vctl"]["access"]["id"], second);
    let id = id_of(&begun[2]).replace("-opened", "-ended");
    assert_eq!(id_of(&ended[0]), id);
    assert!(export(&[]).is_empty());
    // A third one that arrives later, and the whole log again.
    open(&exporting, host);
    assert_eq!(actions_of(&export(&[])), ["\"access-opened\" null"]);
    let whole = events_of(exporting.command(&["audit", "export", "--host", host]));
    assert_eq!(whole.len(), 5);
    let has_ended = |event: &Value| id_of(event) == id;
    assert!(whole.iter().any(has_ended), "{whole:?}");
    let failed = events_of(exporting.command(&["audit", "export", "--host", host, "--failed"]));
    assert!(
        failed
            .iter()
            .all(|event| event["vctl"]["access"]["id"] == second)
    );
}

#[test]
fn follow_shows_a_beginning_and_an_end_as_they_happen() {
    let Some(exporting) = Exporting::new() else {
        return;
    };
    let host = "followed-access";
    open_for(&exporting, host, "before-follow");
    for (format, first, last) in [
        ("table", "opened  from 192.0.2.7", "error no route"),
        ("jsonl", "\"open\"", "\"failed\""),
    ] {
        let mut command = exporting.command(&["audit", "--follow", "--host", host, "-o", format]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        // The first poll happens at an unknown time: an access is opened until one is shown.
        let (mut line, mut id) = (None, String::new());
        for _ in 0..PATIENCE.as_secs() {
            id = open(&exporting, host);
            line = lines.recv_timeout(std::time::Duration::from_secs(1)).ok();
            if line.is_some() {
                break;
            }
        }
        let line = line.expect("a line about an access");
        assert!(
            line.contains(first) && line.contains("uptime") && !line.contains("before-follow"),
            "{line}"
        );
        end(&exporting, &id, "failed");
        let ended = std::iter::from_fn(|| lines.recv_timeout(PATIENCE).ok())
            .find(|line| line.contains(last));
        assert!(ended.is_some(), "{format}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = exporting
        .command(&["audit", "--follow", "-o", "csv"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
