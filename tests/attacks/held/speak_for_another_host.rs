//! A compromised host tries to report for another host.

use std::process::{Command, Stdio};

use serde_json::json;
use vctl_tests::centre::{Centre, DATABASE};
use vctl_tests::lab::Programs;

#[test]
fn a_host_takes_nothing_of_another_hosts_approle() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let thief = centre.enroll("held-thief").unwrap();
    let victim = centre.enroll("held-victim").unwrap();
    let client = centre.as_host(&thief).unwrap();
    let theirs = format!("auth/approle/role/{}", victim.approle);
    let own = format!("auth/approle/role/{}", thief.approle);
    for (method, path) in [
        ("GET", theirs.clone()),
        ("GET", format!("{theirs}/role-id")),
        ("POST", format!("{theirs}/secret-id")),
        ("POST", format!("{theirs}/custom-secret-id")),
        ("POST", format!("{theirs}/secret-id/lookup")),
        ("POST", format!("{theirs}/secret-id/destroy")),
        ("DELETE", theirs.clone()),
        // The host's own AppRole allows neither a custom secret id nor another policy.
        ("POST", format!("{own}/custom-secret-id")),
        ("POST", own.clone()),
        ("POST", format!("{own}/policies")),
        ("POST", format!("{own}/secret-id-ttl")),
        ("GET", format!("database/roles/{}", victim.role("status"))),
        ("GET", "auth/approle/role?list=true".to_owned()),
        ("GET", "database/roles?list=true".to_owned()),
    ] {
        let body = (method == "POST").then(|| json!({"secret_id": "chosen-by-the-thief"}));
        let status = client.call(method, &path, body.as_ref()).unwrap().status;
        assert_eq!(status, 403, "{method} {path}");
    }
}

#[test]
fn a_report_without_a_number_is_refused() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("held-nan").unwrap();
    let client = centre.as_host(&host).unwrap();
    let login = client.credential(&host.role("status")).unwrap();
    for value in ["\"NaN\"", "\"Infinity\"", "-1", "101"] {
        let sql = format!(
            "select vctl.status_v1('{{\"agent_version\": \"x\", \"disk_used_percent\": {value}}}')"
        );
        let stored = centre.postgres.psql_as(login.login(), &sql);
        assert!(stored.is_err(), "{value}");
    }
}

#[test]
fn an_agent_uses_no_credential_of_another_host() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let Ok(programs) = Programs::find() else {
        return;
    };
    let copied = centre.enroll("held-copied").unwrap();
    centre.enroll("held-copier").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let way = centre.way(&copied, directory.path()).unwrap();
    let output = Command::new(programs.agent)
        .args(["node", "--once", "--hostname", "held-copier"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(centre.environment())
        .env("VCTL_ROLE_ID_FILE", way.role_id_file)
        .env("VCTL_SECRET_ID_FILE", way.secret_id_file)
        .env("VCTL_AGENT_RUN_DIR", directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let why = format!("AppRole `{}`, not to host `held-copier`", copied.approle);
    assert!(said.contains(&why), "{said}");
    let reports = "select count(*) from vctl.server_status where hostname like 'held-cop%'";
    assert_eq!(centre.postgres.psql(DATABASE, reports).unwrap(), "0");
}
