//! A renamed host stays one host: for its spool, its records and its credentials.

pub(super) mod desk;

use serde_json::{Value, json};
use vctl_tests::centre::DATABASE;
use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::ship::Source;

use desk::{Desk, said, succeeded};

#[test]
fn a_renamed_host_ships_its_open_sessions_exactly_once() {
    let Some(desk) = Desk::open() else { return };
    let old = desk.enrol("ren-ship-old");
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::open(&dir.path().join("spool"), 256 << 10, 1 << 30).unwrap();
    let way = |identity| desk.centre.way(identity, dir.path()).unwrap();
    let alice = source.log_in(1).unwrap();
    let shipper = source.ship(&way(&old)).unwrap();
    source.work(alice, 30).unwrap();
    desk.centre
        .ensure_has("ren-ship-old", &source.sessions, PATIENCE)
        .unwrap();
    drop(shipper);
    let id = desk.id("ren-ship-old");
    // An open session, and records that are not shipped yet.
    source.work(alice, 30).unwrap();

    let new = desk.rename("ren-ship-old", "ren-ship-new");
    // The old credentials ship them, for the same host.
    let shipper = source.ship(&way(&old)).unwrap();
    desk.centre
        .ensure_has("ren-ship-new", &source.sessions, PATIENCE)
        .unwrap();
    drop(shipper);
    source.work(alice, 30).unwrap();
    let bob = source.log_in(2).unwrap();
    source.work(bob, 30).unwrap();
    let _shipper = source.ship(&way(&new)).unwrap();
    source.work(alice, 1).unwrap();
    source.log_out(alice).unwrap();
    desk.centre
        .ensure_has("ren-ship-new", &source.sessions, PATIENCE)
        .unwrap();
    assert_eq!(desk.id("ren-ship-new"), id);
    assert_eq!(desk.id("ren-ship-old"), "");

    let mut both = vec![alice.to_string(), bob.to_string()];
    both.sort();
    assert_eq!(desk.sessions("ren-ship-old"), both);
    assert_eq!(desk.sessions("ren-ship-new"), both);
    // An idle agent gives its login back, so the host may have none now.
    let text = desk.done(&["rename", "ren-ship-old", "ren-ship-new", "--revoke-old"]);
    assert!(text.contains("old credentials are revoked"), "{text}");
    assert!(desk.centre.as_host(&old).is_err());
    let text = desk.done(&["rename", "ren-ship-old", "ren-ship-new"]);
    assert!(text.contains("nothing is left to do"), "{text}");
}

#[test]
fn an_access_row_names_a_renamed_host_within_its_time() {
    let Some(desk) = Desk::open() else { return };
    let identity = desk.enrol("ren-row-old");
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::open(&dir.path().join("spool"), 256 << 10, 1 << 30).unwrap();
    let way = desk.centre.way(&identity, dir.path()).unwrap();
    let _shipper = source.ship(&way).unwrap();
    let ids = [901, 902, 903, 904].map(|serial| source.log_in(serial).unwrap());
    for id in ids {
        source.work(id, 2).unwrap();
    }
    desk.centre
        .ensure_has("ren-row-old", &source.sessions, PATIENCE)
        .unwrap();
    desk.rename("ren-row-old", "ren-row-new");
    // Rows of one person: from before and after the rename, the old name long after it, and another host.
    let rows = [
        (901, "ren-row-old", "-1 hour"),
        (902, "ren-row-new", "1 hour"),
        (903, "ren-row-old", "1 hour"),
        (904, "ren-row", "-1 hour"),
    ];
    desk.ask(
        "update vctl.audit_session s set vault_user = key_id from vctl.audit_host h \
         where h.id = s.host_id and h.hostname = 'ren-row-new'",
    );
    for (serial, name, after) in rows {
        desk.ask(&format!(
            "insert into vctl.access_log (vault_user, opened_at, hostname, login_user, ca_fingerprint, cert_serial) \
             select s.vault_user, now() + interval '{after}', '{name}', 'deploy', s.ca_fingerprint, s.cert_serial \
             from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id \
             where h.hostname = 'ren-row-new' and s.cert_serial = {serial}"
        ));
    }
    let words = "select string_agg(('host' = any (d.words))::text, ' ' order by s.cert_serial) \
         from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id, \
         lateral vctl.login_contradictions(s.id) d where h.hostname = 'ren-row-new'";
    assert_eq!(desk.ask(words), "false false true true");
    for (name, expected) in [("ren-row-old", 3), ("ren-row-new", 2)] {
        let args = ["audit", "--host", name, "-o", "json"];
        let output = desk.vctl("vctl-auditor", &args);
        let text = succeeded(&output);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let accesses = found["accesses"].as_array().unwrap();
        assert_eq!(accesses.len(), expected, "{name}: {text}");
    }
}

#[test]
fn an_interrupted_rename_is_completed_by_the_next() {
    let Some(desk) = Desk::open() else { return };
    let old = desk.enrol("ren-half-old");
    let admin = desk.centre.bao.admin().unwrap();
    let policy = admin.get("sys/policies/acl/vctl-enroll").unwrap();
    let policy = policy["data"]["policy"].as_str().unwrap();
    let no_roles = policy.replace("\"create\", \"read\", \"update\", \"delete\"", "\"read\"");
    assert_ne!(policy, no_roles);
    let body = json!({"policy": no_roles});
    admin
        .post("sys/policies/acl/rename-without-roles", &body)
        .unwrap();
    let rename = ["host", "rename", "ren-half-old", "ren-half-new"];
    let output = desk.vctl("rename-without-roles", &rename);
    assert_eq!(output.status.code(), Some(77), "{}", said(&output));
    // Stopped between the database and Vault: the host goes on, under its new name.
    assert_eq!(desk.reports_as(&old, "half-1"), "ren-half-new");
    let new = desk.rename("ren-half-old", "ren-half-new");
    assert_ne!(new.approle, old.approle);
    // The host has not used the new credentials, so the old ones stay.
    let again = desk.rename("ren-half-old", "ren-half-new");
    assert_eq!(again.approle, new.approle);
    assert_eq!(desk.reports_as(&old, "half-2"), "ren-half-new");
    assert_eq!(desk.reports_as(&again, "half-3"), "ren-half-new");
    // A later login with the old credentials: the host does not use the new ones any more.
    let newest = "select (select max(rolvaliduntil) from pg_roles where rolname like 'status/ren-half-old%') \
         > (select max(rolvaliduntil) from pg_roles where rolname like 'status/ren-half-new%')";
    let later = eventually(PATIENCE, || {
        desk.reports_as(&old, "half-4");
        Ok(desk.ask(newest) == "t")
    });
    assert!(later.unwrap());
    let text = desk.done(&["rename", "ren-half-old", "ren-half-new"]);
    assert!(text.contains("stay valid"), "{text}");
    assert_eq!(desk.reports_as(&again, "half-5"), "ren-half-new");
    let text = desk.done(&["rename", "ren-half-old", "ren-half-new"]);
    assert!(text.contains("old credentials are revoked"), "{text}");
    assert!(desk.centre.as_host(&old).is_err());
    let record = "select hostname, renamed_by from vctl.host_former_name f \
         where host_id = (select id from vctl.audit_host where hostname = 'ren-half-new')";
    assert_eq!(desk.ask(record), "ren-half-old|token");
}

#[test]
fn a_rename_never_joins_two_hosts() {
    let Some(desk) = Desk::open() else { return };
    for name in ["ren-no-1", "ren-no-2", "ren-no-3"] {
        desk.enrol(name);
    }
    let refused = |args: &[&str], code, parts: &[&str]| {
        desk.refused(&[&["rename"], args].concat(), code, parts);
    };
    let there = [
        "`ren-no-2` has an identity already",
        "vctl host revoke ren-no-2",
    ];
    refused(&["ren-no-1", "ren-no-2"], 1, &there);
    desk.done(&["revoke", "ren-no-2"]);
    let there = ["the host `ren-no-2` is already in the inventory"];
    refused(&["ren-no-1", "ren-no-2"], 1, &there);
    let same = ["a rename has two different names"];
    refused(&["ren-no-1", "ren-no-1", "--inventory-renamed"], 1, &same);
    refused(
        &["ren-no-0", "ren-no-9"],
        66,
        &["there is no host `ren-no-0`"],
    );
    refused(&["ren-no-1", "vctl-x"], 2, &["`vctl-` is reserved"]);
    refused(&["ren-no-1", "Web"], 2, &["is not a host name"]);
    // Records of an earlier host, which is in the inventory no more.
    desk.ask(
        "insert into vctl.audit_host (hostname) values ('ren-no-gone');
         insert into vctl.audit_session (id, host_id, boot_id, opened_at)
         select gen_random_uuid(), id, gen_random_uuid(), now() from vctl.audit_host where hostname = 'ren-no-gone'",
    );
    let earlier = [
        "records of an earlier host `ren-no-gone`",
        "choose another name",
    ];
    refused(&["ren-no-1", "ren-no-gone"], 1, &earlier);
    // A former name of another host, for a rename and for an enrolment.
    desk.rename("ren-no-3", "ren-no-4");
    let former = ["`ren-no-3` is a former name of host `ren-no-4`"];
    refused(&["ren-no-1", "ren-no-3"], 1, &["has an identity already"]);
    desk.done(&["rename", "ren-no-3", "ren-no-4", "--revoke-old"]);
    refused(&["ren-no-1", "ren-no-3"], 1, &former);
    refused(
        &["ren-no-3", "ren-no-5"],
        1,
        &["`ren-no-3` was renamed to `ren-no-4`"],
    );
    let enrol = ["enroll", "ren-no-3", "--create", "--ip", "10.0.0.9"];
    desk.refused(&enrol, 1, &former);
    // As an older vctl does it.
    let mark = "insert into vctl.servers (hostname, ip, enrolled_at) values ('ren-no-3', '10.0.0.9', now())";
    let error = format!(
        "{:#}",
        desk.centre.postgres.psql(DATABASE, mark).unwrap_err()
    );
    assert!(error.contains(former[0]), "{error}");
    for policy in ["vctl-user", "vctl-admin"] {
        let output = desk.vctl(policy, &["host", "rename", "ren-no-1", "ren-no-6"]);
        assert_eq!(output.status.code(), Some(77), "{}", said(&output));
    }
    // The name may go back to its own host.
    desk.done(&["rename", "ren-no-4", "ren-no-3"]);
    assert_eq!(
        desk.ask("select count(*) from vctl.servers where hostname ~ '^ren-no-[1-9]$'"),
        "3"
    );
}

#[test]
fn a_rename_names_what_still_has_the_old_name() {
    let Some(desk) = Desk::open() else { return };
    for name in ["ren-left-1", "ren-left-2"] {
        desk.enrol(name);
    }
    let fingerprint = format!("SHA256:{}", "a".repeat(43));
    desk.ask(&format!(
        "insert into vctl.rbac_groups (name) values ('ren-left');
         insert into vctl.rbac_grants (group_name, command, scope) values ('ren-left', 'ssh', 'dc=a,host=ren-left-1');
         insert into vctl.host_certificate (hostname, key_fingerprint, ca_fingerprint, serial, principals, valid_before)
         values ('ren-left-1', '{fingerprint}', '{fingerprint}', 1, '{{ren-left-1}}', now() + interval '1 day')"
    ));
    let text = desk.done(&["rename", "ren-left-1", "ren-left-3"]);
    for part in [
        "`vctl ca host-cert ren-left-3` signs it again",
        "of group `ren-left`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = desk.done(&["rename", "ren-left-2", "ren-left-4"]);
    assert!(
        !text.contains("still name") && !text.contains("certificate"),
        "{text}"
    );
    // Former names of an earlier host count as its records: they are never joined with another host.
    desk.done(&["revoke", "ren-left-4"]);
    desk.ask("delete from vctl.servers where hostname = 'ren-left-4'");
    desk.refused(
        &["rename", "ren-left-3", "ren-left-4"],
        1,
        &["records of an earlier host `ren-left-4`"],
    );
}

#[test]
fn revoking_a_renamed_host_ends_its_old_credentials() {
    let Some(desk) = Desk::open() else { return };
    let old = desk.enrol("ren-rev-old");
    let new = desk.rename("ren-rev-old", "ren-rev-new");
    let list = |policy: &str| desk.vctl(policy, &["host", "list", "-o", "json"]);
    let hosts: Value = serde_json::from_slice(&list("vctl-enroll").stdout).unwrap();
    let hosts = hosts["hosts"].as_array().unwrap();
    let host = hosts.iter().find(|host| host["hostname"] == "ren-rev-new");
    let host = host.unwrap();
    assert_eq!(host["approles"], json!([new.approle, old.approle]));
    assert_eq!(host["former_names"][0]["hostname"], "ren-rev-old");
    assert!(hosts.iter().all(|host| host["hostname"] != "ren-rev-old"));
    assert_eq!(list("vctl-user").status.code(), Some(77));
    let text = desk.done(&["revoke", "ren-rev-new"]);
    for identity in [old, new] {
        assert!(text.contains(&identity.approle), "{text}");
        assert!(desk.centre.as_host(&identity).is_err());
    }
    let names = succeeded(&desk.host(&["list", "-o", "name"]));
    assert!(!names.contains("ren-rev"), "{names}");
}

#[test]
fn a_host_renamed_in_the_inventory_keeps_its_records() {
    let Some(desk) = Desk::open() else { return };
    let edit = |args: &[&str]| succeeded(&desk.vctl("vctl-admin", &[&["edit"], args].concat()));
    // An enrolled host: its records follow at once.
    let identity = desk.enrol("ren-edit-1");
    let text = edit(&["ren-edit-1", "--name", "ren-edit-2", "--dc", "seoul"]);
    assert!(
        text.contains("vctl host rename ren-edit-1 ren-edit-2"),
        "{text}"
    );
    assert_eq!(desk.reports_as(&identity, "edit-1"), "ren-edit-2");
    let dc = "select dc from vctl.servers where hostname = 'ren-edit-2'";
    assert_eq!(desk.ask(dc), "seoul");
    desk.rename("ren-edit-1", "ren-edit-2");
    let identity = desk.enrol("ren-edit-5");
    let dbedit = ["dbedit", "-col", "name", "ren-edit-5=ren-edit-6"];
    let text = succeeded(&desk.vctl("vctl-admin", &dbedit));
    assert!(
        text.contains("vctl host rename ren-edit-5 ren-edit-6"),
        "{text}"
    );
    assert_eq!(desk.reports_as(&identity, "edit-5"), "ren-edit-6");
    // A host whose row was renamed by an older vctl.
    let identity = desk.enrol("ren-edit-3");
    desk.reports_as(&identity, "edit-2");
    desk.ask("insert into vctl.audit_host (hostname) values ('ren-edit-3')");
    desk.ask("update vctl.servers set hostname = 'ren-edit-4' where hostname = 'ren-edit-3'");
    let client = desk.centre.as_host(&identity).unwrap();
    let login = client.credential(&identity.role("status")).unwrap();
    let report = "select vctl.status_v1('{\"agent_version\": \"edit-3\"}')";
    let postgres = &desk.centre.postgres;
    let error = format!("{:#}", postgres.psql_as(login.login(), report).unwrap_err());
    assert!(error.contains("vctl host rename ren-edit-3 NEW"), "{error}");
    let rename = ["rename", "ren-edit-3", "ren-edit-4"];
    desk.refused(
        &rename,
        1,
        &["both may be different machines", "--inventory-renamed"],
    );
    desk.done(&[&rename[..], &["--inventory-renamed"]].concat());
    assert_eq!(desk.reports_as(&identity, "edit-4"), "ren-edit-4");
    let gone = eventually(PATIENCE, || Ok(desk.id("ren-edit-3").is_empty()));
    assert!(gone.unwrap());
}
