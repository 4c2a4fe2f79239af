//! A compromised host, and a person with the right to end sessions, try to misuse requests to end sessions, and to
//! revoke the access of others.

use vctl_tests::centre::{Centre, Credential, HostIdentity};

const SESSION: &str = "0193f3a1-7c4e-7d61-9f0a-00000000e4d1";

fn ingest_login(centre: &Centre, host: &HostIdentity) -> Credential {
    let client = centre.as_host(host).unwrap();
    client.credential(&host.role("audit-ingest")).unwrap()
}

#[test]
fn a_host_sees_and_answers_no_request_of_another_host() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let owner = centre.enroll("ends-owner").unwrap();
    let thief = centre.enroll("ends-thief").unwrap();
    let rows = format!(
        "insert into vctl.audit_host (hostname) values ('ends-owner'), ('ends-thief'); \
         insert into vctl.audit_session (id, host_id, boot_id, opened, opened_at) \
         select '{SESSION}', id, gen_random_uuid(), '{{}}', now() from vctl.audit_host where hostname = 'ends-owner'"
    );
    centre.ask(&rows).unwrap();
    let person = centre.person("ender", &["vctl-session-end"]).unwrap();
    let ender = person.credential("vctl-session-end").unwrap();
    let as_ender = |sql: &str| centre.postgres.psql_as(ender.login(), sql);

    // The name in the request is the login's own.
    let forged =
        format!("select vctl.request_session_end_v1('userpass-albert', '{SESSION}', null)");
    assert!(as_ender(&forged).is_err());
    let own = format!(
        "select request from vctl.request_session_end_v1('userpass-ender', '{SESSION}', null)"
    );
    let request = as_ender(&own).unwrap();
    let again = as_ender(&own).unwrap();
    assert_eq!(request, again, "one open request for each session");

    let asks = "select requests from vctl.session_ends_v1(gen_random_uuid())";
    let answers =
        format!("select vctl.answer_session_end_v1({request}, '{{\"result\": \"ended\"}}')");
    let theirs = ingest_login(centre, &thief);
    assert_eq!(centre.postgres.psql_as(theirs.login(), asks).unwrap(), "[]");
    assert_eq!(
        centre.postgres.psql_as(theirs.login(), &answers).unwrap(),
        "f"
    );
    let of_owner = ingest_login(centre, &owner);
    let seen = centre.postgres.psql_as(of_owner.login(), asks).unwrap();
    assert!(
        seen.contains(SESSION) && seen.contains("userpass-ender"),
        "{seen}"
    );
    // The request is still open, so only the answer itself is the reason for the refusal.
    for answer in [
        "{}",
        "{\"result\": \"expired\"}",
        "{\"result\": \"ended\", \"signalled\": -1}",
        "{\"result\": \"ended\", \"detached\": [\"none\"]}",
    ] {
        let sql = format!("select vctl.answer_session_end_v1({request}, '{answer}')");
        let said = centre.postgres.psql_as(of_owner.login(), &sql);
        assert!(said.is_err(), "{answer}: {said:?}");
    }
    // An answer is written once.
    for written in ["t", "f"] {
        let said = centre.postgres.psql_as(of_owner.login(), &answers);
        assert_eq!(said.unwrap(), written);
    }
}

#[test]
fn the_right_to_end_sessions_reads_no_record() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let client = centre.with_policies(&["vctl-session-end"]).unwrap();
    let login = client.credential("vctl-session-end").unwrap();
    for table in [
        "kernel_event",
        "audit_session",
        "access_log",
        "session_end_request",
    ] {
        let read = format!("select 1 from vctl.{table}");
        assert!(
            centre.postgres.psql_as(login.login(), &read).is_err(),
            "{table}"
        );
    }
}

#[test]
fn the_right_to_end_sessions_revokes_no_access() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let ender = centre.person("locker", &["vctl-session-end"]).unwrap();
    let login = ender.credential("vctl-session-end").unwrap();
    let own = "'userpass-locker'";
    let names = "array['userpass-victim']";
    for call in [
        format!("begin_revocation_v1({own}, {names}, null, null)"),
        "finish_revocation_v1(1, '{}')".to_owned(),
        "revoked_names_v1()".to_owned(),
        format!("certificates_of_v1({names})"),
        format!("sessions_of_v1({names})"),
    ] {
        let sql = format!("select vctl.{call}");
        let said = centre.postgres.psql_as(login.login(), &sql);
        let said = format!("{:#}", said.expect_err(&call));
        assert!(said.contains("permission denied"), "{call}: {said}");
    }
    let direct =
        "insert into vctl.revocation (names, requested_by, login) values ('{victim}', 'a', 'b')";
    assert!(centre.postgres.psql_as(login.login(), direct).is_err());
    assert!(ender.credential("vctl-revoke").is_err());
}
