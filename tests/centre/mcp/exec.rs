//! `vctl_ssh_exec`: output, access row, host keys, cancellation.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vctl_tests::fixture::{await_file, await_that};

use super::{Client, host_of};
use crate::ssh::{Operator, shared};

const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// Returns whether the process with the pid in this file exists.
fn runs(pid: &Path) -> bool {
    let pid = fs::read_to_string(pid).unwrap();
    Path::new("/proc").join(pid.trim()).exists()
}

#[test]
fn a_command_has_its_row_with_the_client() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-row");
    host_of(&operator, "mcp-row-1", centre.host.as_ref().unwrap());
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let command = "echo out; echo err >&2; printf '\\377'; PGPASSWORD=secret true; exit 3";
    let arguments = json!({"host": "mcp-row-1", "command": command});
    let result = client.result(1, "vctl_ssh_exec", &arguments);
    let answer = &result["structuredContent"];
    assert_ne!(result["isError"], true, "{result}");
    assert_eq!(answer["stdout"], "out\n\\xff", "{answer}");
    assert_eq!(answer["stderr"], "err\n");
    assert_eq!(answer["exit_code"], 3);
    assert_eq!(answer["invalid_utf8_bytes"], 1);
    let rows = operator.accesses("mcp-row-1");
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["result"], &rows[0]["exit_code"]),
        (&json!("ok"), &json!(3))
    );
    let version = rows[0]["vctl_version"].as_str().unwrap();
    assert!(version.ends_with(" mcp spec-client/1.2.3"), "{version}");
    let recorded = rows[0]["command"].as_str().unwrap();
    assert_eq!(recorded, command.replace("secret", "******"));
}

#[test]
fn a_recorded_command_has_no_hidden_text() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-hidden");
    operator.may("vctl-auditor");
    host_of(&operator, "mcp-hidden-1", centre.host.as_ref().unwrap());
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let arguments = json!({"host": "mcp-hidden-1", "command": "printf '\u{1b}[2J\u{202e}'"});
    let result = client.result(1, "vctl_ssh_exec", &arguments);
    assert_eq!(result["structuredContent"]["stdout"], "\\x1b[2J\\u202e");
    let log = client.result(2, "vctl_access_log", &json!({"host": "mcp-hidden-1"}));
    let entry = &log["structuredContent"]["access_log"][0];
    assert_eq!(entry["command"], "printf '\\x1b[2J\\u202e'", "{log}");
    assert_eq!(entry["user"], "mcp-hidden");
}

#[test]
fn a_call_without_an_id_is_not_executed() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-no-id");
    host_of(&operator, "mcp-no-id-1", centre.host.as_ref().unwrap());
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let params =
        json!({"name": "vctl_ssh_exec", "arguments": {"host": "mcp-no-id-1", "command": "true"}});
    client.send(&json!({"jsonrpc": "2.0", "method": "tools/call", "params": params}));
    let result = client.result(1, "vctl_whoami", &json!({}));
    assert_eq!(result["structuredContent"]["identity"], "mcp-no-id");
    assert_eq!(client.leave(), Some(0));
    assert_eq!(operator.accesses("mcp-no-id-1").len(), 0);
}

#[test]
fn a_command_over_its_time_limit_returns_its_output() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-limit");
    host_of(&operator, "mcp-limit-1", centre.host.as_ref().unwrap());
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let command = "echo begun; sleep 60; echo ended";
    let arguments = json!({"host": "mcp-limit-1", "command": command, "timeout_seconds": 2});
    let result = client.result(1, "vctl_ssh_exec", &arguments);
    assert_eq!(result["isError"], true, "{result}");
    let answer = &result["structuredContent"];
    assert_eq!(
        answer["error"], "not done within 2 s; the command was ended",
        "{answer}"
    );
    assert_eq!(answer["stdout"], "begun\n");
    assert_eq!(answer["exit_code"], Value::Null);
    let rows = operator.accesses("mcp-limit-1");
    assert_eq!(rows[0]["error"], "not done within 2 s", "{rows:?}");
}

#[test]
fn a_refusal_by_vault_names_the_policy() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-refused");
    host_of(&operator, "mcp-refused-1", centre.host.as_ref().unwrap());
    operator.loses("vctl-ssh");
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let arguments = json!({"host": "mcp-refused-1", "command": "true"});
    let result = client.result(1, "vctl_ssh_exec", &arguments);
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Vault denies this token"), "{text}");
    assert!(text.contains("ask for the policy `vctl-ssh`"), "{text}");
}

#[test]
fn the_first_host_key_is_kept_and_another_is_refused() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-key");
    host_of(&operator, "mcp-key-1", centre.host.as_ref().unwrap());
    host_of(&operator, "mcp-key-2", centre.host.as_ref().unwrap());
    operator.remembers(&format!("mcp-key-2 {OTHER}\n"));
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let run = |name: &str| json!({"host": name, "command": "true"});
    let first = client.result(1, "vctl_ssh_exec", &run("mcp-key-1"));
    assert_eq!(first["structuredContent"]["exit_code"], 0, "{first}");
    let file = operator.at.home(".vctl/mcp_known_hosts");
    let stored = fs::read_to_string(&file).unwrap();
    assert!(stored.starts_with("mcp-key-1 ssh-"), "{stored}");
    fs::write(&file, format!("mcp-key-1 {OTHER}\n")).unwrap();
    for (id, name) in [(2, "mcp-key-1"), (3, "mcp-key-2")] {
        let changed = client.result(id, "vctl_ssh_exec", &run(name));
        let text = changed["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("has changed"), "{text}");
    }
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("mcp-key-1 {OTHER}\n")
    );
}

#[test]
fn a_cancelled_command_ends_on_the_host() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-cancel");
    host_of(&operator, "mcp-cancel-1", centre.host.as_ref().unwrap());
    let shared_dir = tempfile::Builder::new()
        .prefix("vctl-mcp")
        .tempdir_in("/tmp")
        .unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(shared_dir.path(), open).unwrap();
    let mut client = Client::start(operator.at.command(&["mcp"]));
    // The second command ignores SIGTERM.
    for (id, before) in [(1, ""), (2, "trap '' TERM; ")] {
        let pid = shared_dir.path().join(format!("pid-{id}"));
        let command = format!(
            "{before}echo $$ > {0}.new; mv {0}.new {0}; sleep 60; true",
            pid.display()
        );
        let arguments = json!({"host": "mcp-cancel-1", "command": command});
        client.call(id, "vctl_ssh_exec", &arguments);
        await_file(&pid);
        // The server answers others meanwhile.
        client.request(10 + id, "ping", &json!({}));
        assert_eq!(client.answer(10 + id)["result"], json!({}));
        assert!(runs(&pid));
        let since = Instant::now();
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        client.send(&cancel);
        await_that("the command has ended", || !runs(&pid));
        assert!(
            since.elapsed() < Duration::from_secs(1),
            "{:?}",
            since.elapsed()
        );
    }
    let is_closed = |row: &Value| row["error"] == "cancelled by the MCP client";
    await_that("both rows are closed", || {
        operator
            .accesses("mcp-cancel-1")
            .iter()
            .filter(|row| is_closed(row))
            .count()
            == 2
    });
}

#[test]
fn a_client_that_leaves_ends_its_command() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-leave");
    host_of(&operator, "mcp-leave-1", centre.host.as_ref().unwrap());
    let shared_dir = tempfile::Builder::new()
        .prefix("vctl-mcp")
        .tempdir_in("/tmp")
        .unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(shared_dir.path(), open).unwrap();
    let pid = shared_dir.path().join("pid");
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let command = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; sleep 60; true",
        pid.display()
    );
    client.call(
        1,
        "vctl_ssh_exec",
        &json!({"host": "mcp-leave-1", "command": command}),
    );
    await_file(&pid);
    assert_eq!(client.leave(), Some(0));
    await_that("the command has ended", || !runs(&pid));
    let rows = operator.accesses("mcp-leave-1");
    assert_eq!(rows[0]["error"], "the MCP client is gone", "{rows:?}");
}

#[test]
fn a_long_output_is_cut_and_can_be_read_to_its_end() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-long");
    host_of(&operator, "mcp-long-1", centre.host.as_ref().unwrap());
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let arguments = json!({"host": "mcp-long-1", "command": "seq 1 1400000 | head -c 10000000"});
    let result = client.result(1, "vctl_ssh_exec", &arguments);
    let answer = &result["structuredContent"];
    assert_eq!(answer["stdout_bytes"], 10_000_000, "{}", answer["error"]);
    assert_eq!(answer["truncated"], true);
    let mut text = answer["stdout"].as_str().unwrap().to_owned();
    assert!(text.len() <= 32 << 10, "{}", text.len());
    let (id, mut offset) = (
        answer["output_id"].clone(),
        answer["stdout_next_offset"].clone(),
    );
    let mut number = 2;
    while !offset.is_null() {
        let arguments = json!({"output_id": id, "offset": offset});
        let mut page = client.result(number, "vctl_output", &arguments);
        let page = page["structuredContent"].take();
        text.push_str(page["text"].as_str().unwrap());
        offset = page["next_offset"].clone();
        number += 1;
    }
    let whole: String = (1..=1_400_000)
        .flat_map(|n| [n.to_string(), "\n".to_owned()])
        .collect();
    assert_eq!(text.len(), 10_000_000);
    assert!(whole.starts_with(&text));
}

#[test]
fn a_hundred_commands_run_at_the_same_time() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-many");
    host_of(&operator, "mcp-many-1", centre.host.as_ref().unwrap());
    let mut client = Client::start(operator.at.command(&["mcp"]));
    // Each command waits for others, more than connect at the same time: one after the other, none would end.
    let shared_dir = tempfile::Builder::new()
        .prefix("vctl-mcp")
        .tempdir_in("/tmp")
        .unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(shared_dir.path(), open).unwrap();
    let dir = shared_dir.path().display();
    for id in 1..=100 {
        let command = format!(
            "touch {dir}/{id}; while [ $(ls {dir} | wc -l) -lt 16 ]; do sleep 0.1; done; echo {id}"
        );
        client.call(
            id,
            "vctl_ssh_exec",
            &json!({"host": "mcp-many-1", "command": command}),
        );
    }
    for id in 1..=100 {
        let answer = client.answer(id);
        let stdout = &answer["result"]["structuredContent"]["stdout"];
        assert_eq!(*stdout, format!("{id}\n"), "{answer}");
    }
    let rows = operator.accesses("mcp-many-1");
    let done = rows.iter().filter(|row| row["result"] == "ok").count();
    assert_eq!((rows.len(), done), (100, 100));
}
