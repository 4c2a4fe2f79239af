//! `vctl mcp` returns recorded sessions without text that a reviewer cannot see.

use serde_json::json;

use super::{Reading, certificate, unique};
use crate::mcp::Client;

#[test]
fn recorded_arguments_have_no_hidden_text() {
    let Some(mut reading) = Reading::new() else {
        return;
    };
    let ca = unique('m');
    reading.our_ca(&ca);
    reading.ship();
    let session = reading.log_in(Some(certificate("agent-hidden", 671, &ca)));
    reading.exec(
        session.id,
        &[b"echo", b"\x1b[2J", "a\u{202e}b\u{200b}".as_bytes()],
    );
    reading.exec(session.id, &[b"echo", b"\xff"]);
    reading.log_out(session.id, 2);
    reading.wait_for(session.id, 2);
    let mut client = Client::start(reading.command(&["mcp"]));
    let id = session.id.to_string();
    let result = client.result(1, "vctl_session", &json!({"session": id}));
    let session = &result["structuredContent"]["sessions"][0];
    assert_eq!(session["events_total"], 2, "{result}");
    let argv = session["events"].as_array().unwrap();
    let argv: Vec<_> = argv.iter().map(|event| &event["argv"]).collect();
    let hidden = json!(["echo", "\\x1b[2J", "a\\u202eb\\u200b"]);
    let binary = json!(["echo", {"hex": "ff"}]);
    assert_eq!(argv, [&hidden, &binary], "{result}");
}
