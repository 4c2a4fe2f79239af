//! A user with the smallest policy tries to get more rights in Vault.

use serde_json::json;
use vctl_tests::centre::Centre;

#[test]
fn a_user_makes_no_token_and_lists_nothing() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let user = centre.person("held-mere", &["vctl-user"]).unwrap();
    for path in [
        "sys/leases/lookup/database/creds/vctl-ro?list=true",
        "auth/approle/role?list=true",
        "auth/approle/role/vctl-user/secret-id?list=true",
        "auth/approle/role/vctl-pruner/role-id",
        "auth/userpass/users?list=true",
        "auth/token/accessors?list=true",
        "database/roles?list=true",
        "database/config/vctl",
        "database/creds/vctl-rw",
        "database/static-creds/vctl",
        "identity/entity/id?list=true",
        "ssh/config/ca",
        "sys/policies/acl?list=true",
        "sys/raw/core",
        "sys/audit",
    ] {
        let status = user.call("GET", path, None).unwrap().status;
        assert_eq!(status, 403, "{path}");
    }
    for path in [
        "auth/token/create",
        "auth/token/create-orphan",
        "auth/token/create/any",
        "auth/approle/role/vctl-user",
        "auth/approle/role/vctl-user/custom-secret-id",
        "auth/approle/role/vctl-user/secret-id/destroy",
        "identity/entity/merge",
        "sys/leases/revoke-prefix/database/creds/vctl-ro",
        "sys/policies/acl/vctl-user",
        "ssh/sign/sre-core",
        "sys/seal",
    ] {
        let body = json!({"policies": ["root"]});
        let status = user.call("POST", path, Some(&body)).unwrap().status;
        assert_eq!(status, 403, "{path}");
    }
}

#[test]
fn a_persons_metadata_makes_no_host() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let host = centre.enroll("held-metadata").unwrap();
    let user = centre.person("held-pretends", &["vctl-user"]).unwrap();
    let path = "auth/approle/role/vctl-user";
    let role_id = user.get(&format!("{path}/role-id")).unwrap();
    for key in ["role_name", "ROLE_NAME"] {
        let metadata = json!({"metadata": json!({ key: host.approle }).to_string()});
        let made = user.post(&format!("{path}/secret-id"), &metadata).unwrap();
        let ids = json!({
            "role_id": role_id["data"]["role_id"],
            "secret_id": made["data"]["secret_id"],
        });
        let anonymous = centre.bao.anonymous().unwrap();
        let token = anonymous.post("auth/approle/login", &ids).unwrap();
        let token = token["auth"]["client_token"].as_str().unwrap();
        let machine = anonymous.with_token(vctl_tests::centre::Secret::new(token));
        for purpose in ["audit-ingest", "status"] {
            let role = host.role(purpose);
            assert!(machine.credential(&role).is_err(), "{key}: {role}");
        }
    }
}

#[test]
fn a_disabled_persons_token_is_refused() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let admin = centre.bao.admin().unwrap();
    let user = centre.person("held-leaver", &["vctl-user"]).unwrap();
    user.credential("vctl-ro").unwrap();
    let itself = user.get("auth/token/lookup-self").unwrap();
    let entity = itself["data"]["entity_id"].as_str().unwrap();
    let disabled = json!({"disabled": true});
    admin
        .post(&format!("identity/entity/id/{entity}"), &disabled)
        .unwrap();
    assert!(user.credential("vctl-ro").is_err());
    assert!(user.get("auth/token/lookup-self").is_err());
}
