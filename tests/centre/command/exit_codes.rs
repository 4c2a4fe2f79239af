//! The exit codes of vctl when it cannot ask the centre.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use vctl_tests::centre::Centre;
use vctl_tests::lab::Programs;

/// Runs `vctl migrate --status` with the usual environment and these changes.
fn status(centre: &Centre, changes: &[(&str, &str)]) -> Output {
    vctl(centre, &["migrate", "--status"], changes)
}

fn vctl(centre: &Centre, args: &[&str], changes: &[(&str, &str)]) -> Output {
    let mut command = Command::new(Programs::find().unwrap().vctl);
    command
        .args(args)
        .env_clear()
        .envs(centre.environment())
        .env("VAULT_TOKEN", centre.bao.root_token().expose())
        .envs(changes.iter().copied())
        .stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn each_cause_has_its_exit_code_and_the_next_command() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let stranger = centre.pki.stranger().to_str().unwrap();
    for (changes, code, said) in [
        (vec![], 0, ""),
        (vec![("VAULT_TOKEN", "")], 77, "hint: run `vctl login`"),
        (
            vec![("VCTL_VAULT_ADDR", "vault")],
            78,
            "VCTL_VAULT_ADDR: value of `vault_addr`: `vault` does not begin with `https://`",
        ),
        (
            vec![("VCTL_CONFIG", "/nowhere/vctl.yaml")],
            78,
            "cannot read `/nowhere/vctl.yaml`",
        ),
        (
            vec![("VAULT_TOKEN", "a\nb")],
            78,
            "token contains invalid characters",
        ),
        (
            vec![("VAULT_TOKEN", "hvs.nobody")],
            77,
            "expired or was revoked",
        ),
        (
            vec![("VCTL_DB_PORT", "none")],
            78,
            "VCTL_DB_PORT: value of `db_port`: `none` is not a port",
        ),
        (
            vec![("VCTL_VAULT_ADDR", "http://vault.example")],
            78,
            "in the clear",
        ),
        (
            vec![("VCTL_VAULT_ADDR", "https://127.0.0.1:1")],
            69,
            "cannot reach Vault",
        ),
        (vec![("VCTL_DB_PORT", "1")], 69, "cannot reach Postgres"),
        (vec![("VCTL_VAULT_CA_CERT", "/nowhere")], 78, "`/nowhere`"),
        (
            vec![("VCTL_VAULT_CA_CERT", stranger)],
            69,
            "authority that is not trusted",
        ),
        (
            vec![("VCTL_DB_CA_CERT", stranger)],
            69,
            "authority that is not trusted",
        ),
        (
            vec![("VCTL_DB_SERVERNAME", "other.example")],
            69,
            "for another name",
        ),
        (
            vec![("VCTL_DATABASE_MOUNT", "elsewhere")],
            78,
            "Vault has no role `vctl-ro` at `elsewhere/`",
        ),
    ] {
        let output = status(centre, &changes);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{changes:?}: {complaint}");
        assert!(complaint.contains(said), "{changes:?}: {complaint}");
        assert_eq!(complaint.contains("hint: "), code != 0, "{complaint}");
        let token = centre.bao.root_token().expose();
        assert!(!complaint.contains(token), "{changes:?}");
    }
}

/// The same failures, in the form for programs.
#[test]
fn an_error_is_one_line_of_json_where_json_was_asked_for() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let stranger = centre.pki.stranger().to_str().unwrap();
    for (changes, code, said) in [
        (("VCTL_DB_PORT", "none"), 78, "the configuration"),
        (("VAULT_TOKEN", "hvs.nobody"), 77, "expired or was revoked"),
        (
            ("VCTL_VAULT_ADDR", "https://127.0.0.1:1"),
            69,
            "cannot reach Vault",
        ),
        (("VCTL_DB_CA_CERT", stranger), 69, "not trusted"),
    ] {
        let output = vctl(centre, &["migrate", "--status", "-o", "json"], &[changes]);
        assert_eq!(output.status.code(), Some(code));
        assert!(output.stdout.is_empty());
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        let error: Value = serde_json::from_str(&line).unwrap();
        let error = error["error"].as_object().unwrap();
        assert_eq!(error["code"], code, "{line}");
        assert!(line.contains(said), "{line}");
        assert!(error["hint"].is_string() && error["causes"].is_array());
        assert_eq!(error.len(), 4, "{line}");
    }
}

#[test]
fn the_environment_of_vault_cannot_switch_checking_off() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let stranger = centre.pki.stranger().to_str().unwrap();
    let ca = centre.pki.ca().to_str().unwrap();
    let changes = [
        ("VCTL_VAULT_CA_CERT", stranger),
        ("VAULT_CACERT", ca),
        ("VAULT_SKIP_VERIFY", "1"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
    ];
    assert_eq!(status(centre, &changes).status.code(), Some(69));
    // A proxy does not see the token either: vctl ignores `HTTPS_PROXY`.
    assert_eq!(status(centre, &changes[3..]).status.code(), Some(0));
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let mut command = Command::new(Programs::find().unwrap().vctl);
    let child = command
        .args(["migrate", "--status"])
        .env_clear()
        .envs(centre.environment())
        .env("VAULT_TOKEN", centre.bao.root_token().expose())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
