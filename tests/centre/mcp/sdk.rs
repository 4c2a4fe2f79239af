//! The official TypeScript SDK as the client.

use std::path::Path;

use serde_json::{Value, json};
use vctl_tests::lab::{Programs, start_or_skip};
use vctl_tests::npm::{self, Packages};

use super::host_of;
use crate::ssh::{Operator, shared};

const SDK: Packages = Packages {
    name: "modelcontextprotocol-sdk-1.32.2",
    size: "29 MB",
    package: include_str!("../../mcp-client/package.json"),
    lock: include_str!("../../mcp-client/package-lock.json"),
};

#[test]
fn the_official_client_accepts_every_tool() {
    let Some(centre) = shared() else { return };
    let Some(packages) = start_or_skip(npm::missing(), || SDK.install()) else {
        return;
    };
    let operator = Operator::new(centre, "mcp-sdk");
    operator.may("vctl-auditor");
    host_of(&operator, "mcp-sdk-1", centre.host.as_ref().unwrap());
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("mcp-client/client.mjs");
    let mut command = operator.at.program("node", &[]);
    command
        .arg(program)
        .arg(packages)
        .arg(Programs::find().unwrap().vctl)
        .arg("mcp-sdk-1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = &said["results"];
    let failed: Vec<&Value> = results
        .as_object()
        .unwrap()
        .values()
        .filter(|result| result.get("error").is_some_and(Value::is_string))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(said["tools"].as_array().unwrap().len(), 7);
    assert_eq!(results["vctl_resolve"]["match"]["hostname"], "mcp-sdk-1");
    assert_eq!(results["vctl_ssh_exec"]["truncated"], true);
    assert_eq!(results["vctl_output"]["total_bytes"], 108_894);
    assert!(said["progress"].as_u64() >= Some(1), "{said}");
    assert_eq!(said["cancelled"], json!(true));
    // A client that knows no schema of a format prints a warning.
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
