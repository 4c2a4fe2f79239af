//! Lines that are wrong, and tools that only read.

use std::fs;
use std::fs::File;

use serde_json::{Value, json};
use vctl_tests::terminal::Terminal;

use super::Client;
use crate::login::Workstation;
use crate::ssh::{Operator, shared};

#[test]
fn a_wrong_line_does_not_end_the_server() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let mut client = Client::start(at.command(&["mcp"]));
    for (line, code) in [
        ("{\"jsonrpc\": ", -32700),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}"#,
            -32600,
        ),
    ] {
        client.send_line(line);
        let answer = client.message(|message| message.get("error").is_some());
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        assert!(answer.get("id").is_none(), "{answer}");
    }
    // Unknown methods, and methods of capabilities that the server does not offer.
    for (id, method) in [
        (1, "no/such/method"),
        (2, "logging/setLevel"),
        (3, "completion/complete"),
        (4, "resources/list"),
        (5, "prompts/list"),
    ] {
        client.request(id, method, &json!({}));
        let answer = client.answer(id);
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
    client.send_bytes(b"\xff\xfe\n");
    let answer = client.message(|message| message.get("error").is_some());
    assert_eq!(answer["error"]["code"], -32700, "{answer}");
    // Notifications are never answered.
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/unknown"}));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}}));
    client.call(8, "no_such_tool", &json!({}));
    assert_eq!(client.answer(8)["error"]["code"], -32602);
    client.request(9, "ping", &json!({}));
    assert_eq!(client.answer(9)["result"], json!({}));
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn a_call_without_a_login_names_the_command() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let mut client = Client::start(at.command(&["mcp"]));
    let result = client.result(1, "vctl_list", &json!({}));
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("`vctl login`"), "{text}");
}

#[test]
fn a_call_on_a_terminal_never_prompts() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let mut command = at.command(&["mcp"]);
    // With a user name, `vctl list` would ask for the password here.
    command
        .env("VCTL_AUTH_METHOD", "userpass")
        .env("VCTL_USERNAME", "anna");
    let mut terminal = Terminal::start(command, 400).unwrap();
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}});
    for (id, method, params) in [
        (1, "initialize", hello),
        (
            2,
            "tools/call",
            json!({"name": "vctl_list", "arguments": {}}),
        ),
    ] {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        terminal.type_in(&format!("{request}\n")).unwrap();
        if id == 1 {
            terminal.wait_for("serverInfo").unwrap();
            let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            terminal.type_in(&format!("{ready}\n")).unwrap();
        }
    }
    terminal.wait_for("isError").unwrap();
    let shown = terminal.shown();
    assert!(shown.contains("run `vctl login`"), "{shown}");
    assert!(!shown.to_lowercase().contains("password"), "{shown}");
}

#[test]
fn a_new_login_is_used_without_a_restart() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-again");
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let before = client.result(1, "vctl_whoami", &json!({}));
    assert_eq!(
        before["structuredContent"]["identity"], "mcp-again",
        "{before}"
    );
    assert_eq!(operator.at.run(&["logout"]).code, 0);
    let out = client.result(2, "vctl_whoami", &json!({}));
    assert_eq!(out["isError"], true, "{out}");
    operator.log_in_again();
    let after = client.result(3, "vctl_whoami", &json!({}));
    assert_eq!(
        after["structuredContent"]["identity"], "mcp-again",
        "{after}"
    );
}

#[test]
fn read_only_cannot_run_a_command() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let mut client = Client::start(at.command(&["mcp", "--read-only"]));
    client.request(1, "tools/list", &json!({}));
    let answer = client.answer(1);
    let tools = answer["result"]["tools"].as_array().unwrap();
    let writes = |tool: &&Value| tool["annotations"]["readOnlyHint"] != true;
    assert_eq!(tools.iter().filter(writes).count(), 0, "{answer}");
    client.call(2, "vctl_ssh_exec", &json!({"host": "x", "command": "true"}));
    assert_eq!(client.answer(2)["error"]["code"], -32602);
}

#[test]
fn a_host_name_in_a_list_has_no_hidden_text() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "mcp-list");
    operator.inventory("mcp-list-1", "192.0.2.1", 22, "ro\u{202e}ot\u{1b}[2J");
    let mut client = Client::start(operator.at.command(&["mcp"]));
    let found = client.result(1, "vctl_resolve", &json!({"query": "mcp-list-1"}));
    let host = &found["structuredContent"]["match"];
    assert_eq!(host["user"], "ro\\u202eot\\x1b[2J", "{found}");
    let list = client.result(2, "vctl_list", &json!({"limit": 1000}));
    let list = &list["structuredContent"];
    let servers = list["servers"].as_array().unwrap();
    assert!(
        servers.iter().any(|host| host["hostname"] == "mcp-list-1"),
        "{list}"
    );
}

#[test]
fn a_ping_before_initialize_does_not_begin_a_session() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let mut client = Client::without_handshake(at.command(&["mcp"]));
    client.request(1, "ping", &json!({}));
    assert_eq!(client.answer(1)["result"], json!({}));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/unknown"}));
    client.initialize();
    client.request(2, "tools/list", &json!({}));
    assert!(client.answer(2)["result"]["tools"].is_array());
    assert_eq!(client.leave(), Some(0));
}

#[test]
fn each_line_before_the_end_of_the_input_is_answered() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let lines: Vec<String> = (0..200)
        .flat_map(|id| {
            // rmcp refuses a request before `initialize`.
            let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"});
            ["{".to_owned(), request.to_string()]
        })
        .collect();
    let input = at.home("input");
    fs::write(&input, lines.join("\n") + "\n").unwrap();
    let mut command = at.command(&["mcp"]);
    let output = command.stdin(File::open(&input).unwrap()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), lines.len());
}

#[test]
fn a_wrong_number_is_named_without_a_type_of_rust() {
    let Some(centre) = shared() else { return };
    let at = Workstation::new(centre);
    let mut client = Client::start(at.command(&["mcp"]));
    let result = client.result(1, "vctl_list", &json!({"limit": -1}));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("`-1` is not an integer of at least 0"),
        "{text}"
    );
}
