//! `vctl audit verify` after real accesses: each certificate of `vctl ssh` is in Vault's audit log and in the access log.

use serde_json::Value;

use super::{Operator, shared};

#[test]
fn accesses_of_vctl_ssh_are_no_exceptions() {
    let Some(centre) = shared() else { return };
    let operator = Operator::new(centre, "ssh-verify");
    operator.may("vctl-auditor");
    let host = centre.host.as_ref().unwrap();
    operator.knows("verify-1", host);
    operator.inventory("verify-2", "127.0.0.1", host.port(), host.user());
    operator.remembers(&format!("verify-2 {}\n", host.public_key()));
    operator.jumps("verify-2", "verify-1");
    for name in ["verify-1", "verify-2"] {
        let mut command = operator.command(&[name, "--", "true"]);
        let output = command.env("VCTL_SSH_DIRECT_FIRST", "false").output();
        assert!(output.as_ref().unwrap().status.success(), "{output:?}");
    }
    let rows = [operator.accesses("verify-1"), operator.accesses("verify-2")].concat();
    let hops = rows.iter().filter_map(|row| row["hops"].as_array());
    let serials: Vec<u64> = (rows.iter().chain(hops.flatten()))
        .filter_map(|certificate| certificate["cert_serial"].as_u64())
        .collect();
    // Two targets and a jump host.
    assert_eq!(serials.len(), 3, "{rows:?}");

    let log = centre.bao.audit_log();
    let log = log.to_str().unwrap();
    let args = ["audit", "verify", "--margin", "0s", "-o", "json"];
    let said = operator
        .at
        .run(&[&args[..], &["--audit-log", log]].concat());
    let document: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    assert!(document["compared"]["signatures"].as_u64() >= Some(3));
    for exception in document["exceptions"].as_array().unwrap() {
        let serial = exception["serial"].as_str().map(str::parse);
        let is_ours = serial.is_some_and(|serial| serials.contains(&serial.unwrap()));
        assert!(!is_ours, "{exception:#}");
    }
}
