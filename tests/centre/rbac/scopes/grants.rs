//! Grants with scopes, and the roles of Vault that they need.

use std::fs;

use serde_json::{Value, json};

use crate::rbac::{ADMIN, PLAIN, User, adds_host, knows, narrowed, scope_file, sql};

#[test]
fn a_grant_needs_the_role_of_its_scope() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "role-admin", ADMIN);
    admin.ok(&["rbac", "group", "create", "role"]);
    let vault = centre.bao.admin().unwrap();
    let role = |name: &str, role: &Value| {
        vault
            .post(&format!("ssh/roles/vctl-scope-{name}"), role)
            .unwrap();
    };
    let mut good = vault.get("ssh/roles/vctl-scope-dc-seoul").unwrap()["data"].take();
    good["allowed_users"] = json!("root");
    role("dc-loose", &good);
    good["allowed_users"] = json!("root@dc=renamed");
    good["default_user"] = json!("root");
    role("dc-renamed", &good);
    for (grant, why) in [
        (
            "ssh:dc=nowhere",
            "Vault has no role `ssh/roles/vctl-scope-dc-nowhere`, so nothing enforces `dc=nowhere`",
        ),
        (
            "ssh:dc=loose",
            "`allowed_users` of the role `ssh/roles/vctl-scope-dc-loose` is not within the scope `dc=loose`: `root`",
        ),
        (
            "ssh:dc=renamed",
            "`default_user` is `root` in Vault, expected ``",
        ),
        (
            // Its role has the same name as that of the data centre in lower case.
            "ssh:dc=SEOUL",
            "is not within the scope `dc=SEOUL`",
        ),
    ] {
        let said = admin.run(&["rbac", "grant", "role", "exec", grant]);
        assert_eq!(said.code, 78, "{said:?}");
        assert!(said.stderr.contains(why), "{said:?}");
        assert!(said.stderr.contains("docs/rbac-scopes.md"), "{said:?}");
    }
    let group = admin.json(&["rbac", "group", "show", "role"]);
    assert_eq!(group["groups"][0]["grants"], json!([]));
}

#[test]
fn differences_between_scope_file_and_vault_are_listed() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "differ-admin", ADMIN);
    let user = User::new(centre, "differ-user", PLAIN);
    let file = scope_file(centre);
    let said = admin.run(&["rbac", "scopes", file.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{said:?}");
    let mut scopes: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    scopes["dc=seoul"] = json!({"users": ["root"], "ttl_s": 60});
    scopes["dc=absent"] = json!({"users": ["root"]});
    let other = admin.at.home("other.json");
    let compare = |user: &User<'_>, text: &str| {
        fs::write(&other, text).unwrap();
        user.run(&["rbac", "scopes", other.to_str().unwrap()])
    };
    let said = compare(&admin, &scopes.to_string());
    assert_eq!(said.code, 78, "{said:?}");
    let account = centre.host.as_ref().unwrap().user();
    for difference in [
        format!(
            "`ssh/roles/vctl-scope-dc-seoul`: `allowed_users` is `{account}@dc=seoul` in Vault, expected `root@dc=seoul`"
        ),
        "`ssh/roles/vctl-scope-dc-seoul`: `ttl` is 1800 in Vault, expected 60".to_owned(),
        "`ssh/roles/vctl-scope-dc-absent` does not exist".to_owned(),
    ] {
        assert!(said.stderr.contains(&difference), "{said:?}");
    }
    // A grant with a scope that was removed from the file can be revoked without a role.
    admin.ok(&["rbac", "group", "create", "differ"]);
    sql(
        centre,
        "insert into vctl.rbac_grants (group_name, command, scope) values ('differ', 'ssh', 'dc=gone')",
    );
    let said = admin.run(&["rbac", "scopes", file.to_str().unwrap()]);
    assert_eq!(said.code, 78, "{said:?}");
    let outside = "the scope of the grant `ssh:dc=gone` of the group `differ` is not in the file";
    assert!(said.stderr.contains(outside), "{said:?}");
    admin.ok(&["rbac", "revoke", "differ", "ssh:dc=gone"]);
    let said = compare(&admin, r#"{"dc=a": {}}"#);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(
        said.stderr.contains("`users` of `dc=a` is missing"),
        "{said:?}"
    );
    let said = admin.run(&["rbac", "scopes", "absent.json"]);
    assert_eq!(said.code, 66, "{said:?}");
    assert_eq!(compare(&user, "{}").code, 77);
}

#[test]
fn certificates_of_a_scope_have_the_lifetime_of_the_scope() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "short-admin", ADMIN);
    adds_host(centre, "short-1", "short");
    let user = User::new(centre, "short", &["vctl-user", "vctl-scope-dc-short"]);
    knows(&user, centre, &["short-1"]);
    user.is_in(&admin, "short", &["ssh:dc=short"]);
    // vctl asks for 30 minutes for other certificates.
    user.ok(&["ssh", "--server", "short-1", "--", "true"]);
    // Vault makes certificates valid from 30 s before the signature.
    let lifetime = "select extract(epoch from cert_valid_before - cert_valid_after)::int \
        from vctl.access_log where vault_user = 'userpass-short' and result = 'ok'";
    assert_eq!(sql(centre, lifetime), "930");
}

#[test]
fn vctl_ssh_uses_the_role_that_the_user_may_use() {
    let Some(centre) = narrowed() else { return };
    let admin = User::new(centre, "uses-admin", ADMIN);
    adds_host(centre, "uses-1", "seoul");
    let scoped = &["vctl-user", "vctl-scope-dc-seoul"];
    let user = User::new(centre, "uses-scoped", scoped);
    let reader = User::new(centre, "uses-reader", &["vctl-user", "vctl-scope-dc-busan"]);
    for user in [&user, &reader] {
        knows(user, centre, &["uses-1"]);
    }
    user.is_in(&admin, "uses", &["ssh:dc=seoul"]);
    reader.is_in(&admin, "uses-too", &["ssh:dc=seoul"]);
    let run = |user: &User<'_>| user.run(&["ssh", "--server", "uses-1", "--", "true"]);
    assert_eq!(run(&user).code, 0);
    // The grant alone is not enough, and the error names the policy that is missing.
    let said = run(&reader);
    assert_eq!(said.code, 77, "{said:?}");
    assert!(
        said.stderr
            .contains("ask for the policy `vctl-scope-dc-seoul`"),
        "{said:?}"
    );
    for (user, allowed, text) in [
        (&user, true, "Vault allows every path"),
        (
            &reader,
            false,
            "on `ssh/sign/vctl-scope-dc-seoul` or `ssh/sign/sre-core`",
        ),
    ] {
        let check = ["rbac", "check", "ssh", "--host", "uses-1"];
        let said = user.run(&check);
        assert_eq!(said.code == 0, allowed, "{said:?}");
        let words: Vec<&str> = said.stdout.split_whitespace().collect();
        assert!(words.join(" ").contains(text), "{said:?}");
    }
    // Without a host, the role of one of the user's scopes is enough.
    let said = user.run(&["rbac", "check", "ssh", "-o", "json"]);
    let verdict: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(verdict["layers"][1]["allowed"], true, "{verdict}");
}
