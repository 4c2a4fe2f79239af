//! `vctl_ssh_exec`: output, access row, host keys.

use std::fs;

use serde_json::json;
use vctl_tests::fixture::{await_file, touch};

use super::{Served, host_of, open_dir};
use crate::ssh::shared;

const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

#[test]
fn a_command_has_its_row_with_the_client() {
    let Some(mut served) = Served::or_skip("mcp-row") else {
        return;
    };
    let command = "echo out; echo err >&2; printf '\\377'; PGPASSWORD=secret true; exit 3";
    let result = served.run(1, command);
    let answer = &result["structuredContent"];
    assert_ne!(result["isError"], true, "{result}");
    assert_eq!(answer["stdout"], "out\n\\xff", "{answer}");
    assert_eq!(answer["stderr"], "err\n");
    assert_eq!(answer["exit_code"], 3);
    assert_eq!(answer["invalid_utf8_bytes"], 1);
    let rows = served.accesses();
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
    let Some(mut served) = Served::with_policy("mcp-hidden", Some("vctl-auditor")) else {
        return;
    };
    let result = served.run(1, "printf '\u{1b}[2J\u{202e}'");
    assert_eq!(result["structuredContent"]["stdout"], "\\x1b[2J\\u202e");
    // An empty text is what some clients send for an argument that the model left out.
    let wanted = json!({"host": served.host, "user": ""});
    let log = served.client.result(2, "vctl_access_log", &wanted);
    let entry = &log["structuredContent"]["access_log"][0];
    assert_eq!(entry["command"], "printf '\\x1b[2J\\u202e'", "{log}");
    assert_eq!(entry["user"], "mcp-hidden");
}

#[test]
fn a_call_without_an_id_is_not_executed() {
    let Some(mut served) = Served::or_skip("mcp-no-id") else {
        return;
    };
    let arguments = json!({"host": served.host, "command": "true"});
    let params = json!({"name": "vctl_ssh_exec", "arguments": arguments});
    let call = json!({"jsonrpc": "2.0", "method": "tools/call", "params": params});
    served.client.send(&call);
    let result = served.client.result(1, "vctl_whoami", &json!({}));
    assert_eq!(result["structuredContent"]["identity"], "mcp-no-id");
    assert_eq!(served.client.leave(), Some(0));
    assert_eq!(served.accesses().len(), 0);
}

#[test]
fn a_refusal_by_vault_names_the_policy() {
    let Some(mut served) = Served::or_skip("mcp-refused") else {
        return;
    };
    served.operator.loses("vctl-ssh");
    let result = served.run(1, "true");
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Vault denies this token"), "{text}");
    assert!(text.contains("ask for the policy `vctl-ssh`"), "{text}");
}

#[test]
fn the_first_host_key_is_kept_and_another_is_refused() {
    let Some(mut served) = Served::or_skip("mcp-key") else {
        return;
    };
    let host = shared().unwrap().host.as_ref().unwrap();
    host_of(&served.operator, "mcp-key-2", host);
    served.operator.remembers(&format!("mcp-key-2 {OTHER}\n"));
    let first = served.run(1, "true");
    assert_eq!(first["structuredContent"]["exit_code"], 0, "{first}");
    let file = served.operator.at.home(".vctl/mcp_known_hosts");
    let stored = fs::read_to_string(&file).unwrap();
    assert!(stored.starts_with("mcp-key-1 ssh-"), "{stored}");
    let other = format!("mcp-key-1 {OTHER}\n");
    fs::write(&file, &other).unwrap();
    for (id, name) in [(2, "mcp-key-1"), (3, "mcp-key-2")] {
        let run = json!({"host": name, "command": "true"});
        let changed = served.client.result(id, "vctl_ssh_exec", &run);
        let text = changed["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("has changed"), "{text}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), other);
}

#[test]
fn a_login_does_not_disturb_a_running_command() {
    let Some(mut served) = Served::or_skip("mcp-during") else {
        return;
    };
    let dir = open_dir();
    let (begun, end) = (dir.path().join("begun"), dir.path().join("end"));
    let command = format!(
        "touch {}; until [ -e {} ]; do sleep 0.05; done",
        begun.display(),
        end.display()
    );
    served.start(1, &command);
    await_file(&begun);
    served.operator.log_in_again();
    // These calls use the new token. The credentials of the old one are still in use.
    for id in [2, 3] {
        let list = served.client.result(id, "vctl_list", &json!({}));
        assert_ne!(list["isError"], true, "{list}");
    }
    touch(&end);
    let answer = served.client.answer(1);
    let content = &answer["result"]["structuredContent"];
    assert_eq!(content["exit_code"], 0, "{answer}");
    let rows = served.accesses();
    assert_eq!(rows[0]["result"], "ok", "{rows:?}");
}

#[test]
fn a_long_output_is_cut_and_can_be_read_to_its_end() {
    let Some(mut served) = Served::or_skip("mcp-long") else {
        return;
    };
    let result = served.run(1, "seq 1 1400000 | head -c 10000000");
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
        let mut page = served.client.result(number, "vctl_output", &arguments);
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
    let Some(mut served) = Served::or_skip("mcp-many") else {
        return;
    };
    // Each command waits for others, more than connect at the same time: one after the other, none would end.
    let shared_dir = open_dir();
    let dir = shared_dir.path().display();
    for id in 1..=100 {
        let command = format!(
            "touch {dir}/{id}; while [ $(ls {dir} | wc -l) -lt 16 ]; do sleep 0.1; done; echo {id}"
        );
        served.start(id, &command);
    }
    for id in 1..=100 {
        let answer = served.client.answer(id);
        let stdout = &answer["result"]["structuredContent"]["stdout"];
        assert_eq!(*stdout, format!("{id}\n"), "{answer}");
    }
    let rows = served.accesses();
    let done = rows.iter().filter(|row| row["result"] == "ok").count();
    assert_eq!((rows.len(), done), (100, 100));
}
