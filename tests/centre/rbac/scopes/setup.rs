//! The scope file: setup.sh and Terraform create the same objects from it, and refuse a wrong file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use vctl_tests::centre::DATABASE;
use vctl_tests::lab::{exempt, installed};

use super::{applied, enforced};
use crate::fixture::terraform::Module;

const TERRAFORM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/vault/terraform/");

#[test]
fn a_removed_scope_is_removed_from_vault() {
    let Some(enforced) = enforced() else { return };
    let _alone = enforced.alone();
    let admin = enforced.centre.bao.admin().unwrap();
    let name = "vctl-scope-dc-removed";
    let role = json!({"key_type": "ca", "allow_user_certificates": true});
    admin.post(&format!("ssh/roles/{name}"), &role).unwrap();
    let policy = json!({"policy": "path \"none\" { capabilities = [\"read\"] }"});
    let path = format!("sys/policies/acl/{name}");
    admin.post(&path, &policy).unwrap();
    // Without the setting everything stays.
    let output = enforced.centre.setup().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(admin.get(&path).is_ok());
    let said = applied(enforced, &enforced.file());
    assert!(
        said.contains(&format!("vault: remove ssh/roles/{name}, which is not in")),
        "{said}"
    );
    assert!(admin.get(&path).is_err());
    assert!(admin.get(&format!("ssh/roles/{name}")).is_err());
    assert!(
        said.contains("vault: policy vctl-scope-dc-scope-a is there"),
        "{said}"
    );
    assert!(admin.get("ssh-next/roles/vctl-scope-dc-scope-a").is_ok());
    assert!(
        admin
            .get("identity/group/name/vctl-scope-dc-scope-a")
            .is_ok()
    );
}

#[test]
fn setup_fails_if_removed_scopes_cannot_be_listed() {
    let Some(enforced) = enforced() else { return };
    let _alone = enforced.alone();
    let (centre, directory) = (enforced.centre, enforced.directory.path());
    let cli = directory.join("cli-without-list");
    let real = centre.bao.binary.path.display();
    let script = format!(
        "#!/bin/sh\n[ \"$1 $3\" != \"list sys/policies/acl\" ] || {{ echo denied >&2; exit 2; }}\n\
         exec '{real}' \"$@\"\n"
    );
    fs::write(&cli, script).unwrap();
    fs::set_permissions(&cli, fs::Permissions::from_mode(0o755)).unwrap();
    let mut setup = centre.setup();
    setup.env("SCOPES", enforced.file()).env("VAULT_CLI", &cli);
    let output = setup.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("Vault does not list `sys/policies/acl`"),
        "{errors}"
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("done"), "{said}");
}

#[test]
fn setup_refuses_a_wrong_scope_file() {
    let Some(enforced) = enforced() else { return };
    let statement = include_str!("../../../../deploy/vault/sql/read-scopes.sql");
    for (file, reason) in [
        (r#"{"": {"users": ["a"]}}"#, "`` is not a scope"),
        (r#"{"dc=a b": {}}"#, "`dc=a b` is not a scope"),
        (r#"{"dc=a'\n": {}}"#, "`dc=a'?` is not a scope"),
        (r#"{"dc=a,": {}}"#, "`dc=a,` is not a scope"),
        (r#"{"user=b,dc=a": {}}"#, "in this order"),
        (r#"{"host=WEB": {}}"#, "`host=WEB` is not a scope"),
        (
            r#"{"dc=a": []}"#,
            "`dc=a` is a JSON array; expected an object",
        ),
        (
            r#"{"dc=a": {"user": "b"}}"#,
            "`dc=a` has the unknown key `user`",
        ),
        (r#"{"dc=a": {}}"#, "`users` of `dc=a` is missing or empty"),
        (
            r#"{"dc=a": {"users": "b"}}"#,
            "`users` of `dc=a` is missing or empty",
        ),
        (
            r#"{"dc=a": {"users": ["b", "c d"]}}"#,
            "`users` of `dc=a` contains \"c d\", which is not the name of an account",
        ),
        (
            r#"{"dc=a": {"users": [7]}}"#,
            "`users` of `dc=a` contains 7",
        ),
        (
            r#"{"user=b": {"users": ["b"]}}"#,
            "`user=b` names its account already",
        ),
        (
            r#"{"user=b": {"ttl_s": "30m"}}"#,
            "of `user=b` is not a whole number of seconds",
        ),
        (
            r#"{"user=b": {"ttl_s": 1.5}}"#,
            "of `user=b` is not a whole number of seconds",
        ),
        (
            r#"{"user=b": {"ttl_s": 7201}}"#,
            "`ttl_s` of `user=b` is 7201, above its `max_ttl_s`, 7200",
        ),
        (
            r#"{"user=b": {"max_ttl_s": 86401}}"#,
            "`max_ttl_s` of `user=b` is 86401; expected at most 86400 seconds",
        ),
        (
            r#"{"dc=A": {"users": ["a"]}, "dc=a": {"users": ["a"]}}"#,
            "have the same name in Vault, `vctl-scope-dc-a`",
        ),
        (
            r#"{"user=b": {}, "user=b": {}}"#,
            "`user=b` and `user=b` have the same name",
        ),
    ] {
        let sql = format!(
            "create temporary table scope_file as select '{}'::json as file; {statement}",
            file.replace('\'', "''")
        );
        let said = enforced.centre.postgres.psql(DATABASE, &sql).unwrap();
        assert!(said.starts_with("problem|"), "{file}: {said}");
        assert!(said.contains(reason), "{file}: {said}");
    }
    // vctl refuses the same files: a unit test of it reads the same list.
    for file in include_str!("wrong-files.txt").lines() {
        // The script checks that the file is an object.
        let sql = format!(
            "create temporary table scope_file as select file from (select '{}'::json as file) f \
             where json_typeof(file) = 'object'; {statement}",
            file.replace('\'', "''")
        );
        let said = enforced.centre.postgres.psql(DATABASE, &sql).unwrap();
        assert!(
            said.is_empty() || said.starts_with("problem|"),
            "{file}: {said}"
        );
        assert!(!said.is_empty() || file == "[]", "{file}");
    }
    // The script stops before it changes Vault.
    let wrong = enforced.directory.path().join("wrong-setup.json");
    for (text, reason) in [
        (r#"{"dc=a": {}}"#, "`users` of `dc=a` is missing or empty"),
        ("[]", "is not a JSON object"),
        ("{\"dc=a'", "is not a JSON object"),
    ] {
        fs::write(&wrong, text).unwrap();
        let output = enforced
            .centre
            .setup()
            .env("SCOPES", &wrong)
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(reason), "{errors}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.contains("vault: "), "{said}");
    }
}

#[test]
fn terraform_and_setup_create_equal_scopes() {
    let Some(enforced) = enforced() else { return };
    // The role of a scope has the limits of sre-core, and setup.sh writes both with one function.
    let main = fs::read_to_string(format!("{TERRAFORM}main.tf")).unwrap();
    let resource = |name: &str| -> Vec<String> {
        let start = format!("resource \"vault_ssh_secret_backend_role\" \"{name}\" {{\n");
        let text = main
            .split(&start)
            .nth(1)
            .unwrap()
            .split("\n}\n")
            .next()
            .unwrap();
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let of_one = [
            "for_each =",
            "backend =",
            "name =",
            "allowed_users =",
            "ttl =",
            "max_ttl =",
        ];
        lines
            .filter(|line| !line.starts_with('#'))
            .filter(|line| !of_one.iter().any(|start| line.starts_with(start)))
            .collect()
    };
    assert_eq!(resource("scope"), resource("sre_core"));
    let mut core = enforced.role("ssh/roles/sre-core");
    let mut scope = enforced.role("ssh/roles/vctl-scope-dc-scope-a");
    for role in [&mut core, &mut scope] {
        role["allowed_users"] = Value::Null;
    }
    assert_eq!(core, scope);
    // Terraform is not a package of Debian. Its module of scopes has no provider, so it runs without a network.
    if !installed("terraform") {
        exempt("the scopes of Terraform are not evaluated: `terraform` is not installed");
        return;
    }
    let module = Module::new("scopes", "scope-policy.hcl");
    let roles = &module.outputs(&[("file", enforced.file().to_str().unwrap())])["roles"];
    let roles = roles.as_object().unwrap();
    assert_eq!(roles.len(), 4, "{roles:?}");
    for (name, wanted) in roles {
        for mount in ["ssh", "ssh-next"] {
            let role = enforced.role(&format!("{mount}/roles/{name}"));
            assert_eq!(role["allowed_users"], wanted["allowed_users"], "{name}");
            for field in ["ttl", "max_ttl"] {
                assert_eq!(
                    role[field].to_string(),
                    wanted[field].as_str().unwrap(),
                    "{name}"
                );
            }
        }
        let policy = enforced.role(&format!("sys/policies/acl/{name}"));
        let (policy, wanted) = (policy["policy"].as_str(), wanted["policy"].as_str());
        assert_eq!(policy.map(str::trim_end), wanted.map(str::trim_end));
        let group = enforced.role(&format!("identity/group/name/{name}"));
        assert_eq!(group["policies"], json!([name]));
        assert_eq!(group["type"], "external");
    }
}

#[test]
fn terraform_refuses_a_wrong_scope_file() {
    if !installed("terraform") {
        exempt("wrong scope files are not given to Terraform: `terraform` is not installed");
        return;
    }
    let module = Module::new("scopes", "scope-policy.hcl");
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("wrong.json");
    for text in include_str!("wrong-files.txt").lines() {
        // Terraform takes the last of equal keys.
        let has_double = ["\"ttl_s\"", "\"user=b\""].map(|key| text.matches(key).count() > 1);
        fs::write(&file, text).unwrap();
        let output = module.plan(&[("file", file.to_str().unwrap())]);
        let is_refused = !output.status.success();
        assert_eq!(
            is_refused,
            !has_double.contains(&true),
            "{text}: {output:?}"
        );
    }
}
