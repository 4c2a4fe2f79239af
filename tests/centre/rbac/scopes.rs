//! Scopes of grants: a certificate of one scope is refused everywhere else, also without the client.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Client, DATABASE, Machine};
use vctl_tests::lab::installed;

use crate::ssh_ca::trust_ca::{Administrator, shared};

const TERRAFORM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/vault/terraform/");

/// A centre whose Vault enforces the scopes of a file.
struct Enforced {
    centre: &'static Centre,
    directory: tempfile::TempDir,
}

impl Enforced {
    fn file(&self) -> PathBuf {
        self.directory.path().join("scopes.json")
    }

    /// Returns the account that machines have.
    fn account(&self) -> String {
        format!("{}-u", self.centre.id())
    }

    fn role(&self, path: &str) -> Value {
        let admin = self.centre.bao.admin().unwrap();
        admin.get(path).unwrap()["data"].take()
    }
}

/// Returns the centre of these specs, after setup.sh has applied the scope file.
fn enforced() -> Option<&'static Enforced> {
    static ENFORCED: OnceLock<Option<Enforced>> = OnceLock::new();
    let start = || {
        let enforced = Enforced {
            centre: shared()?,
            directory: tempfile::tempdir().unwrap(),
        };
        let account = enforced.account();
        let scopes = json!({
            "dc=scope-a": {"users": [account, "root"]},
            (format!("dc=scope-a,user={account}")): {},
            "dc=scope-b": {"users": [account], "ttl_s": 900, "max_ttl_s": 3600},
            "dc=scope-b,host=scope-*": {"users": [account]},
        });
        fs::write(enforced.file(), scopes.to_string()).unwrap();
        applied(&enforced, &enforced.file());
        Some(enforced)
    };
    ENFORCED.get_or_init(start).as_ref()
}

/// Runs setup.sh with a scope file, and returns its output.
fn applied(enforced: &Enforced, file: &Path) -> String {
    let output = enforced
        .centre
        .setup()
        .env("SCOPES", file)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
    String::from_utf8(output.stdout).unwrap()
}

/// A key with a certificate for it.
struct Signed {
    directory: tempfile::TempDir,
}

impl Signed {
    /// Asks a role to sign for these principals. Returns the status of the answer if Vault refuses.
    fn by(client: &Client, role: &str, principals: &str) -> Result<Self, u16> {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        let public = fs::read_to_string(directory.path().join("key.pub")).unwrap();
        let body = json!({"public_key": public, "valid_principals": principals});
        let path = format!("ssh/sign/{role}");
        let answer = client.call("POST", &path, Some(&body)).unwrap();
        if answer.status != 200 {
            return Err(answer.status);
        }
        let certificate = answer.body["data"]["signed_key"].as_str().unwrap();
        fs::write(directory.path().join("key-cert.pub"), certificate).unwrap();
        Ok(Self { directory })
    }

    /// Returns whether OpenSSH logs in with it.
    fn logs_in(&self, machine: &Machine, user: &str) -> bool {
        let output = Command::new("ssh")
            .args(["-F", "/dev/null", "-o", "BatchMode=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-i"])
            .arg(self.directory.path().join("key"))
            .args(["-p", &machine.port().to_string()])
            .args([&format!("{user}@127.0.0.1"), "true"])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() || errors.contains("Permission denied"),
            "{errors}"
        );
        output.status.success()
    }
}

/// Starts a host of a data centre and makes it accept the scopes of the file that cover it.
fn machine(enforced: &Enforced, admin: &Administrator<'_>, name: &str, dc: &str) -> Machine {
    let machine = admin.machine(name);
    admin.sql(&format!(
        "update vctl.servers set dc = '{dc}' where hostname = '{name}'"
    ));
    let file = enforced.file();
    let said = admin.run(&[
        "trust-ca",
        name,
        "--sudo",
        "--scopes",
        file.to_str().unwrap(),
    ]);
    assert_eq!(said.code, 0, "{said:?}");
    machine
}

#[test]
fn a_certificate_is_accepted_only_within_its_scope() {
    let Some(enforced) = enforced() else { return };
    let (admin, account) = (
        Administrator::new(enforced.centre, "scope-hosts"),
        enforced.account(),
    );
    let a = machine(enforced, &admin, "scope-host-a", "scope-a");
    let b = machine(enforced, &admin, "scope-host-b", "scope-b");
    let root = enforced.centre.bao.admin().unwrap();
    let within = |role: &str, principal: &str| Signed::by(&root, role, principal).unwrap();
    let of_a = within("vctl-scope-dc-scope-a", &format!("{account}@dc=scope-a"));
    assert!(of_a.logs_in(&a, &account));
    assert!(!of_a.logs_in(&b, &account));
    let of_b = within("vctl-scope-dc-scope-b", &format!("{account}@dc=scope-b"));
    assert!(!of_b.logs_in(&a, &account));
    assert!(of_b.logs_in(&b, &account));
    let by_name = within(
        "vctl-scope-dc-scope-b.host-scope-_",
        &format!("{account}@dc=scope-b+host=scope-*"),
    );
    assert!(!by_name.logs_in(&a, &account));
    assert!(by_name.logs_in(&b, &account));
    // The scope allows root too, but each certificate is for one account.
    let of_root = within("vctl-scope-dc-scope-a", "root@dc=scope-a");
    assert!(!of_root.logs_in(&a, &account));
    assert!(of_root.logs_in(&a, "root"));
    // Users of all hosts are not affected.
    let everywhere = within("sre-core", &account);
    assert!(everywhere.logs_in(&a, &account));
    assert!(everywhere.logs_in(&b, &account));
    // A host without scopes refuses them all.
    let plain = admin.machine("scope-host-plain");
    let said = admin.run(&["trust-ca", "scope-host-plain", "--sudo"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(everywhere.logs_in(&plain, &account));
    assert!(!of_a.logs_in(&plain, &account));
}

#[test]
fn trust_ca_sets_the_scopes_of_a_host() {
    let Some(enforced) = enforced() else { return };
    let admin = Administrator::new(enforced.centre, "scope-trust");
    let name = "scope-trust-1";
    let machine = machine(enforced, &admin, name, "scope-b");
    let drop_in = machine.etc_ssh("sshd_config.d/10-vault-ca.conf");
    let with_scopes = "TrustedUserCAKeys /etc/ssh/vault-ca.pub\n\
                       AuthorizedPrincipalsCommand /usr/bin/printf %%s\\n %u %u@dc=scope-b \
                       %u@dc=scope-b+host=scope-*\n\
                       AuthorizedPrincipalsCommandUser nobody\n";
    let text = || fs::read_to_string(&drop_in).unwrap();
    assert!(text().ends_with(with_scopes), "{}", text());
    let run = |args: &[&str]| {
        let args = [&["trust-ca", name, "--sudo"], args].concat();
        admin.run(&args)
    };
    let file = enforced.file();
    let file = file.to_str().unwrap();
    // Neither the same scopes nor no scopes change anything.
    for args in [&["--scopes", file][..], &[]] {
        let said = run(args);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stderr.contains("nothing to change"), "{said:?}");
    }
    let said = run(&["--scope", "dc=scope-b", "--dry-run"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout
            .contains("would accept certificates of the scope dc=scope-b\n"),
        "{said:?}"
    );
    assert!(text().ends_with(with_scopes), "{}", text());
    // A scope of another data centre is refused, and so is a file that is not a scope file.
    let said = run(&["--scope", "dc=scope-a"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.stderr.contains(
            "the scope `dc=scope-a` does not cover `scope-trust-1`, in data centre `scope-b`"
        ),
        "{said:?}"
    );
    let wrong = enforced.directory.path().join("wrong.json");
    fs::write(&wrong, r#"{"dc=scope-b": {}}"#).unwrap();
    let said = run(&["--scopes", wrong.to_str().unwrap()]);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(
        said.stderr.contains("`users` of `dc=scope-b` is missing"),
        "{said:?}"
    );
    assert!(text().ends_with(with_scopes), "{}", text());
    // After a move to another data centre, the host accepts the scopes of that one only.
    admin.sql("update vctl.servers set dc = 'scope-a' where hostname = 'scope-trust-1'");
    let said = run(&["--scopes", file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(text().contains(" %u %u@dc=scope-a\n"), "{}", text());
    // An sshd that gets its principals elsewhere would not enforce the scopes.
    let config = machine.etc_ssh("sshd_config");
    let before = fs::read_to_string(&config).unwrap();
    let other =
        "AuthorizedPrincipalsCommand /usr/bin/echo %u\nAuthorizedPrincipalsCommandUser nobody\n";
    // Some versions of sshd use the first of such lines, and others the last.
    fs::write(&config, format!("{other}{before}{other}")).unwrap();
    let said = run(&["--scopes", file]);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(
        said.stderr
            .contains("sshd gets principals from /usr/bin/echo %u instead"),
        "{said:?}"
    );
    fs::write(&config, before).unwrap();
    admin.sql("update vctl.servers set dc = 'elsewhere' where hostname = 'scope-trust-1'");
    let said = run(&["--scopes", file]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        text().ends_with("\nTrustedUserCAKeys /etc/ssh/vault-ca.pub\n"),
        "{}",
        text()
    );
    assert!(
        said.stdout.contains("accepts certificates of no scope"),
        "{said:?}"
    );
}

#[test]
fn vault_signs_no_principal_of_another_scope() {
    let Some(enforced) = enforced() else { return };
    let account = enforced.account();
    let client = enforced
        .centre
        .with_policies(&["vctl-user", "vctl-scope-dc-scope-a"])
        .unwrap();
    let ask = |role: &str, principals: &str| Signed::by(&client, role, principals).err();
    let own = "vctl-scope-dc-scope-a";
    let principal = format!("{account}@dc=scope-a");
    assert_eq!(ask(own, &principal), None);
    for (role, principals, status) in [
        (own, format!("{account}@dc=scope-b"), 400),
        (own, account.clone(), 400),
        (own, "root".to_owned(), 400),
        (own, format!("{principal},{account}"), 400),
        (own, "*".to_owned(), 400),
        (
            "vctl-scope-dc-scope-b",
            format!("{account}@dc=scope-b"),
            403,
        ),
        ("sre-core", account.clone(), 403),
        ("vctl-host", account.clone(), 403),
    ] {
        assert_eq!(ask(role, &principals), Some(status), "{role} {principals}");
    }
    let narrow = enforced
        .centre
        .with_policies(&[&format!("vctl-scope-dc-scope-a.user-{account}")])
        .unwrap();
    let role = format!("vctl-scope-dc-scope-a.user-{account}");
    assert!(Signed::by(&narrow, &role, &principal).is_ok());
    let refused = Signed::by(&narrow, &role, "root@dc=scope-a");
    assert_eq!(refused.err(), Some(400));
    // A certificate without a principal would be for every account.
    let refused = Signed::by(&client, own, "");
    assert_eq!(refused.err(), Some(400));
}

#[test]
fn a_removed_scope_is_removed_from_vault() {
    let Some(enforced) = enforced() else { return };
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
fn setup_refuses_a_wrong_scope_file() {
    let Some(enforced) = enforced() else { return };
    let statement = include_str!("../../../deploy/vault/sql/read-scopes.sql");
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
        return;
    }
    let roles = evaluated(enforced);
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

/// Returns the roles that Terraform would create for the scope file.
fn evaluated(enforced: &Enforced) -> Value {
    let work = tempfile::tempdir().unwrap();
    let vault = work.path().join("vault");
    for directory in ["terraform/scopes", "sql"] {
        fs::create_dir_all(vault.join(directory)).unwrap();
    }
    for file in ["terraform/scopes/main.tf", "scope-policy.hcl"] {
        let from = Path::new(TERRAFORM).join("..").join(file);
        fs::copy(from, vault.join(file)).unwrap();
    }
    let terraform = |args: &[&str]| {
        let output = Command::new("terraform")
            .args(args)
            .current_dir(vault.join("terraform/scopes"))
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_CLI_CONFIG_FILE", "/dev/null")
            .env("TF_VAR_file", enforced.file())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    terraform(&["init", "-input=false"]);
    terraform(&["apply", "-input=false", "-auto-approve"]);
    serde_json::from_slice(&terraform(&["output", "-json", "roles"])).unwrap()
}
