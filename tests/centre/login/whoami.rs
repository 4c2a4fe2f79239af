//! `vctl whoami` shows name, login, policies and groups from Vault's answer.

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Secret};

use crate::fixture::programs::{stderr, stdout, vctl};

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_token_is_described_with_policies_and_groups() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let person = centre.person("whoami-gerda", &["vctl-user"]).unwrap();
    let who = person.get("auth/token/lookup-self").unwrap();
    let entity = who["data"]["entity_id"].as_str().unwrap();
    let admin = centre.bao.admin().unwrap();
    let group = json!({"member_entity_ids": [entity], "policies": ["vctl-ssh"]});
    admin
        .post("identity/group/name/whoami-team", &group)
        .unwrap();
    let team = admin.get("identity/group/name/whoami-team").unwrap();
    let run = |args: &[&str]| {
        let args = [&["whoami"], args].concat();
        let output = vctl(centre, &person, "postgres", &args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    };
    let shown = document(&run(&["-o", "json"]));
    assert_eq!(shown["name"], "whoami-gerda");
    assert_eq!(shown["display_name"], "userpass-whoami-gerda");
    assert_eq!(
        (&shown["method"], &shown["machine"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(
        shown["policies"],
        json!(["default", "vctl-ssh", "vctl-user"])
    );
    // Not every user may read the name of a group.
    assert_eq!(shown["groups"], json!([team["data"]["id"]]));
    assert!(shown["ttl_s"].as_u64() > Some(0), "{shown}");
    let page = run(&[]);
    for part in [
        "Name       whoami-gerda",
        "Policies   default, vctl-ssh, vctl-user",
        " left",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(run(&["-o", "name"]), "whoami-gerda\n");
    assert_eq!(run(&["-o", "csv"]).lines().count(), 2);
    admin.delete("identity/group/name/whoami-team").unwrap();
}

#[test]
fn a_token_without_identity_or_rights_is_described() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let root = centre.with_policies(&["vctl-user"]).unwrap();
    let output = vctl(centre, &root, "postgres", &["whoami", "-o", "json"]).output();
    assert_eq!(document(&stdout(&output.unwrap()))["groups"], json!([]));
    // The policy `default` lets a token read its own identity.
    let admin = centre.bao.admin().unwrap();
    let policy = "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }";
    let policy = json!({ "policy": policy });
    admin
        .post("sys/policies/acl/whoami-limited", &policy)
        .unwrap();
    let user = json!({
        "password": "of-this-spec", "policies": ["whoami-limited"], "token_no_default_policy": true,
    });
    admin
        .post("auth/userpass/users/whoami-limited", &user)
        .unwrap();
    let anonymous = centre.bao.anonymous().unwrap();
    let login = json!({"password": "of-this-spec"});
    let login = anonymous
        .post("auth/userpass/login/whoami-limited", &login)
        .unwrap();
    let token = login["auth"]["client_token"].as_str().unwrap();
    let limited = anonymous.with_token(Secret::new(token));
    let output = vctl(centre, &limited, "postgres", &["whoami", "-o", "json"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(document(&stdout(&output))["groups"], Value::Null);
    let page = vctl(centre, &limited, "postgres", &["whoami"])
        .output()
        .unwrap();
    assert!(stdout(&page).contains("unknown: the token may not read them"));
    let mut nobody = vctl(centre, &limited, "postgres", &["whoami"]);
    let output = nobody.env("VAULT_TOKEN", "s.gone").output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
}
