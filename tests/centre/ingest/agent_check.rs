//! `vctl-agent check` tests the whole path to the centre, and consumes nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use vctl_tests::centre::{Centre, HostIdentity};
use vctl_tests::lab::Programs;

/// Returns the findings of `check` for a host with these files and this environment.
fn check(
    centre: &Centre,
    host: &HostIdentity,
    directory: &Path,
    environment: &[(&str, &str)],
) -> Value {
    let mut command = Command::new(Programs::find().unwrap().agent);
    command
        .args(["check", "-o", "json", "--host", &host.name])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(centre.environment())
        .env("VCTL_ROLE_ID_FILE", directory.join("role_id"))
        .env("VCTL_SECRET_ID_FILE", directory.join("secret_id"))
        .env("VCTL_AGENT_PENDING_DIR", directory.join("pending"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["findings"].clone()
}

fn status(findings: &Value, id: &str) -> String {
    let all = findings.as_array().unwrap();
    let found = all.iter().find(|finding| finding["id"] == id);
    found.map_or_else(String::new, |finding| {
        finding["status"].as_str().unwrap().to_owned()
    })
}

#[test]
fn every_step_to_the_centre_is_tried_and_named() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("checked-1").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let put = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    put("role_id", host.role_id.expose());
    put("secret_id", host.secret_id.expose());
    let statuses = |environment: &[(&str, &str)]| {
        let findings = check(centre, &host, dir, environment);
        let ids = ["vault", "enrolment", "postgres", "centre_clock"];
        (ids.map(|id| status(&findings, id)), findings)
    };
    let (found, findings) = statuses(&[]);
    assert_eq!(found, ["pass"; 4], "{findings:#}");
    // The database does not exist, the port is closed, or Vault does not know the credential.
    let (found, findings) = statuses(&[("VCTL_DB_NAME", "nowhere")]);
    assert_eq!(found[..3], ["pass", "pass", "fail"], "{findings:#}");
    let (found, findings) = statuses(&[("VCTL_VAULT_ADDR", "https://127.0.0.1:1")]);
    assert_eq!(found, ["fail", "", "", ""], "{findings:#}");
    put("secret_id", "00000000-0000-4000-8000-000000000000");
    let (found, findings) = statuses(&[]);
    assert_eq!(found[..3], ["pass", "fail", ""], "{findings:#}");
    // A wrapping token works only once. The check does not use it.
    put("secret_id", "hvs.wrapped");
    let (found, findings) = statuses(&[]);
    assert_eq!(found[..3], ["pass", "warn", ""], "{findings:#}");
    assert_eq!(
        fs::read_to_string(dir.join("secret_id")).unwrap(),
        "hvs.wrapped"
    );
    fs::remove_file(dir.join("role_id")).unwrap();
    let (found, findings) = statuses(&[]);
    assert_eq!(found[1], "fail", "{findings:#}");
}

#[test]
fn check_finds_a_directory_that_another_user_owns() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("checked-2").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let pending = directory.path().join("pending");
    fs::create_dir(&pending).unwrap();
    let found = || status(&check(centre, &host, directory.path(), &[]), "directories");
    assert_eq!(found(), "pass");
    std::os::unix::fs::chown(&pending, Some(65534), Some(65534)).unwrap();
    assert_eq!(found(), "fail");
    std::os::unix::fs::chown(&pending, Some(0), Some(0)).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&pending, open).unwrap();
    assert_eq!(found(), "fail");
}
