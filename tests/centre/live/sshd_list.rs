//! The list of revoked certificates for sshd, as `vctl revoke --krl` writes it.

use std::path::Path;
use std::process::{Command, Stdio};

use vctl_tests::centre::Centre;
use vctl_tests::lab::{PATIENCE, eventually};

use super::{said, vctl_command};

/// Returns what `ssh-keygen` reads from a list.
pub(super) fn listed(krl: &Path) -> String {
    let output = Command::new("ssh-keygen")
        .args(["-Q", "-l", "-f"])
        .arg(krl)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Open sessions of a host that never answers. They are removed at the end.
pub(super) struct Unanswered {
    centre: &'static Centre,
    host: String,
}

impl Unanswered {
    pub(super) fn insert(centre: &'static Centre, host: &str, person: &str, count: usize) -> Self {
        let rows = format!(
            "insert into vctl.audit_host (hostname) values ('{host}'); \
             insert into vctl.audit_session (id, host_id, boot_id, opened, opened_at, login_user, vault_user) \
             select gen_random_uuid(), h.id, gen_random_uuid(), '{{}}', now(), 'ubuntu', '{person}' \
             from vctl.audit_host h, generate_series(1, {count}) where h.hostname = '{host}'"
        );
        centre.ask(&rows).unwrap();
        Self {
            centre,
            host: host.to_owned(),
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let host = format!(
            "(select id from vctl.audit_host where hostname = '{}')",
            self.host
        );
        let rows = format!(
            "delete from vctl.session_end_request where host_id = {host}; \
             delete from vctl.audit_session where host_id = {host}"
        );
        let _ = self.centre.ask(&rows);
    }
}

#[test]
fn the_list_is_written_first_and_a_lost_connection_is_replaced() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let krl = dir.path().join("revoked.krl");
    let _open = Unanswered::insert(centre, "revoke-broken", "userpass-waits", 1);
    let responder = centre.person("breaker", &["vctl-revoke"]).unwrap();
    let path = krl.to_str().unwrap();
    let arguments = [
        "revoke",
        "userpass-waits",
        "--yes",
        "--wait",
        "10m",
        "--krl",
        path,
    ];
    let mut command = vctl_command(centre, &responder, &arguments);
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    let of_host = "(select id from vctl.audit_host where hostname = 'revoke-broken')";
    let requested =
        format!("select count(*) from vctl.session_end_request where host_id = {of_host}");
    let waits = eventually(PATIENCE, || Ok(centre.ask(&requested)? == "1"));
    assert!(waits.unwrap());
    assert!(listed(&krl).contains("id: userpass-waits"));
    assert!(running.try_wait().unwrap().is_none());
    // Postgres ends the connection while the command waits, as at a restart, and then the host answers.
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
               where usename like 'revoke/userpass-breaker~%'";
    assert_eq!(centre.ask(end).unwrap(), "1");
    let answer = format!(
        "update vctl.session_end_request set answered_at = now(), taken_at = now(), result = 'ended', \
                signalled = 1, killed = 0, remaining = '[]' where host_id = {of_host}; \
         update vctl.audit_session set closed_at = now(), closed = '{{}}' where host_id = {of_host}"
    );
    centre.ask(&answer).unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // Only the login that began a record can change it, so the new login began another one.
    let rows = "select outcome ->> 'sessions_ended', outcome -> 'missed' \
                from vctl.revocation where 'userpass-waits' = any(names) order by id";
    assert_eq!(centre.ask(rows).unwrap(), "|\n1|[]");
}

/// Revocations of one hour ago. They are removed at the end.
struct EarlierRevocations(&'static Centre);

impl EarlierRevocations {
    fn insert(centre: &'static Centre, names: usize) -> Self {
        let rows = format!(
            "insert into vctl.revocation (names, requested_by, login, requested_at) \
             select array_agg('userpass-a' || n), 'earlier', 'earlier', now() - interval '1 hour' \
             from generate_series(1, {names}) n group by n / 60"
        );
        centre.ask(&rows).unwrap();
        Self(centre)
    }
}

impl Drop for EarlierRevocations {
    fn drop(&mut self) {
        let rows = "delete from vctl.revocation where requested_by = 'earlier'";
        let _ = self.0.ask(rows);
    }
}

#[test]
fn a_full_list_has_the_newest_names() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let krl = dir.path().join("revoked.krl");
    let _earlier = EarlierRevocations::insert(centre, 1100);
    // Its name sorts after those of the earlier ones.
    let newest = "insert into vctl.revocation (names, requested_by, login) \
                  values (array['userpass-zz'], 'earlier', 'earlier')";
    centre.ask(newest).unwrap();
    let responder = centre.person("filler", &["vctl-revoke"]).unwrap();
    let arguments = ["revoke", "--krl", krl.to_str().unwrap()];
    let output = vctl_command(centre, &responder, &arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("this one has the newest 1024"),
        "{}",
        said(&output)
    );
    let list = listed(&krl);
    assert!(list.contains("id: userpass-zz"), "{list}");
    assert_eq!(list.matches("id: ").count(), 1024);
}

#[test]
fn a_list_has_the_user_also_without_a_record() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let krl = dir.path().join("revoked.krl");
    let _open = Unanswered::insert(centre, "revoke-unrecorded", "userpass-unrecorded", 1);
    // The record refuses a caller with a name of this length.
    let responder = centre.person(&"l".repeat(520), &["vctl-revoke"]).unwrap();
    let path = krl.to_str().unwrap();
    let arguments = ["revoke", "userpass-unrecorded", "--yes", "--krl", path];
    let output = vctl_command(centre, &responder, &arguments).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("record:"), "{}", said(&output));
    assert!(listed(&krl).contains("id: userpass-unrecorded"));
}
