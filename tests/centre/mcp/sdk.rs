//! The official TypeScript SDK as the client, and the official conformance suite.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use vctl_tests::lab::{Programs, start_or_skip};
use vctl_tests::npm::{self, Packages};

use super::host_of;
use crate::ssh::{Operator, shared};

const PACKAGES: Packages = Packages {
    name: "modelcontextprotocol-sdk-1.32.2-conformance-0.1.16",
    size: "51 MB",
    package: include_str!("../../mcp-client/package.json"),
    lock: include_str!("../../mcp-client/package-lock.json"),
};

/// Returns the path of a file of the client.
fn of_client(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("mcp-client")
        .join(file)
}

/// Returns a program for Node that gets the packages, vctl and a host.
fn node(operator: &Operator<'_>, file: &str, packages: &Path, host: &str) -> Command {
    let mut command = operator.at.program("node", &[]);
    command
        .arg(of_client(file))
        .arg(packages)
        .arg(Programs::find().unwrap().vctl)
        .arg(host);
    command
}

#[test]
fn the_official_client_accepts_every_tool() {
    let Some(centre) = shared() else { return };
    let Some(packages) = start_or_skip(npm::missing(), || PACKAGES.install()) else {
        return;
    };
    let operator = Operator::new(centre, "mcp-sdk");
    operator.may("vctl-auditor");
    host_of(&operator, "mcp-sdk-1", centre.host.as_ref().unwrap());
    let mut command = node(&operator, "client.mjs", &packages, "mcp-sdk-1");
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
    let rows = operator.accesses("mcp-sdk-1");
    let is_cancelled = |row: &Value| row["error"] == "cancelled by the MCP client";
    assert_eq!(
        rows.iter().filter(|row| is_cancelled(row)).count(),
        1,
        "{rows:?}"
    );
    // A client that knows no schema of a format prints a warning.
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_official_suite_finds_no_other_failure() {
    let Some(centre) = shared() else { return };
    let Some(packages) = start_or_skip(npm::missing(), || PACKAGES.install()) else {
        return;
    };
    let operator = Operator::new(centre, "mcp-suite");
    host_of(&operator, "mcp-suite-1", centre.host.as_ref().unwrap());
    let results = operator.at.home("results");
    let mut command = node(&operator, "conformance.mjs", &packages, "mcp-suite-1");
    command
        .arg(of_client("expected-failures.yml"))
        .arg(&results);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    for scenario in [
        "server-initialize",
        "ping",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "tools-call-with-progress",
    ] {
        let passed = format!("{scenario}: 1 passed, 0 failed");
        assert!(said.contains(&passed), "{said}");
    }
    // The tools of these scenarios ran on the host, through the bridge.
    let rows = operator.accesses("mcp-suite-1");
    assert_eq!(rows.len(), 1, "{rows:?}");
}
