//! Every command of `deploy/vault/oidc-phase2.md`, as an administrator pastes it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use vctl_tests::browser::Browser;
use vctl_tests::lab::{Programs, installed};
use vctl_tests::terminal::Terminal;

use super::{Desk, GROUP, SignOn, log_in_at_the_provider};
use crate::fixture::terraform::Module;

const DOCUMENT: &str = "deploy/vault/oidc-phase2.md";

const NAMES: [&str; 3] = ["vctl-ssh-users", "vctl-auditors", "vctl-admins"];

/// The section with the commands of users, not of the Vault administrator.
const CHECK: &str = "## 6. Does it work?";

/// Returns the shell blocks in their order, each with its heading.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let mut heading = "";
    let mut found = Vec::new();
    let mut rest = document;
    while let Some(at) = rest.find("\n```sh\n") {
        let (before, block) = rest.split_at(at);
        let last = before.lines().rfind(|line| line.starts_with('#'));
        heading = last.unwrap_or(heading);
        let block = &block["\n```sh\n".len()..];
        let (block, after) = block.split_once("\n```\n").unwrap();
        found.push((heading, block));
        rest = after;
    }
    found
}

/// Runs the commands that set up Vault, with the provider's real addresses instead of the examples.
pub(super) fn set_up(sign_on: &SignOn) {
    let centre = sign_on.centre;
    let document = fs::read_to_string(repository().join(DOCUMENT)).unwrap();
    let blocks = blocks(&document);
    let script: Vec<_> = blocks
        .iter()
        .filter(|(heading, _)| *heading != CHECK)
        .map(|(_, block)| *block)
        .collect();
    let ca = centre.pki.ca().display();
    let script = script
        .join("\n")
        .replace("https://gitlab.example.net", &sign_on.issuer)
        // The CA of the certificate is known only in this centre. The document has a setting for this case.
        .replace(
            "default_role=vctl",
            &format!("default_role=vctl oidc_discovery_ca_pem=@{ca}"),
        );
    let bin = tempfile::tempdir().unwrap();
    symlink(&centre.bao.binary.path, bin.path().join("vault")).unwrap();
    fs::write(bin.path().join("script"), script).unwrap();
    let mut shell = Command::new("/bin/bash");
    shell
        .args(["-euo", "pipefail"])
        .arg(bin.path().join("script"))
        .current_dir(repository())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", bin.path().display()))
        .env("HOME", bin.path())
        .env("VAULT_ADDR", centre.bao.address())
        .env("VAULT_CACERT", centre.pki.ca())
        .env("VAULT_TOKEN", centre.bao.root_token().expose())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let typed = format!("{}\n{}\n", sign_on.client_id, sign_on.client_secret);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(typed.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{stdout}{stderr}");
    for text in [stdout, stderr] {
        assert!(!text.contains(&sign_on.client_secret), "{text}");
    }
}

/// Scopes that `setup.sh` creates before the sign-on, and later.
const SCOPES: [&str; 2] = ["vctl-scope-dc-earlier", "vctl-scope-dc-later"];

/// Runs the whole setup twice, with `setup.sh` in between. No run may undo another run.
pub(super) fn set_up_again(sign_on: &SignOn) {
    let scopes = tempfile::NamedTempFile::new().unwrap();
    let apply = |file: &str| {
        fs::write(scopes.path(), file).unwrap();
        let mut setup = sign_on.centre.setup();
        let output = setup.env("SCOPES", scopes.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    apply(r#"{"dc=earlier": {"users": ["root"]}}"#);
    set_up(sign_on);
    has_its_groups(sign_on, &SCOPES[..1]);
    // An alias without the parent group, as that of a scope was before this script looked at the others.
    rename(sign_on, SCOPES[0], SCOPES[0]);
    let both = r#"{"dc=earlier": {"users": ["root"]}, "dc=later": {"users": ["root"]}}"#;
    let said = apply(both);
    assert!(!said.contains("auth/oidc is not configured"), "{said}");
    has_its_groups(sign_on, &SCOPES);
    // An alias that was set by hand stays.
    rename(sign_on, SCOPES[0], "other/name");
    apply(both);
    assert_eq!(alias(sign_on, SCOPES[0])["name"], "other/name");
    set_up(sign_on);
}

fn alias(sign_on: &SignOn, group: &str) -> Value {
    let admin = sign_on.centre.bao.admin().unwrap();
    let path = format!("identity/group/name/{group}");
    admin.get(&path).unwrap()["data"]["alias"].take()
}

fn rename(sign_on: &SignOn, group: &str, name: &str) {
    let old = alias(sign_on, group);
    let mut body = json!({ "name": name });
    for field in ["mount_accessor", "canonical_id"] {
        body[field] = old[field].clone();
    }
    let path = format!("identity/group-alias/id/{}", old["id"].as_str().unwrap());
    let admin = sign_on.centre.bao.admin().unwrap();
    admin.post(&path, &body).unwrap();
    assert_eq!(alias(sign_on, group)["name"], name);
}

fn has_its_groups(sign_on: &SignOn, scopes: &[&str]) {
    let admin = sign_on.centre.bao.admin().unwrap();
    for name in NAMES.iter().chain(scopes) {
        let group = admin.get(&format!("identity/group/name/{name}")).unwrap();
        assert_eq!(group["data"]["alias"]["name"], format!("{GROUP}/{name}"));
    }
}

#[test]
fn the_document_lists_all_settings_of_vault() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let admin = sign_on.centre.bao.admin().unwrap();
    let data = |path: &str| admin.get(path).unwrap()["data"].take();
    let config = data("auth/oidc/config");
    assert_eq!(config["oidc_discovery_url"], *sign_on.issuer);
    assert_eq!(config["oidc_client_id"], *sign_on.client_id);
    assert_eq!(config["default_role"], "vctl");
    let kept = data("kv/data/services/vault-oidc-gitlab");
    assert_eq!(kept["data"]["client_secret"], *sign_on.client_secret);
    let role = data("auth/oidc/role/vctl");
    let pages = format!(
        "{}/ui/vault/auth/oidc/oidc/callback",
        sign_on.centre.bao.address()
    );
    let allowed = json!(["http://localhost:8250/oidc/callback", pages]);
    assert_eq!(role["allowed_redirect_uris"], allowed);
    let bound = role["bound_claims"]["groups_direct"].as_array().unwrap();
    let mut bound: Vec<_> = bound.iter().map(|name| name.as_str().unwrap()).collect();
    bound.sort_unstable();
    let groups = NAMES.iter().chain(&SCOPES);
    let mut groups: Vec<_> = groups.map(|name| format!("{GROUP}/{name}")).collect();
    groups.sort_unstable();
    assert_eq!(bound, groups);
    assert_eq!(
        data("auth/oidc/role/vctl-device")["callback_mode"],
        "device"
    );
    has_its_groups(sign_on, &SCOPES);
}

#[test]
fn terraform_configures_the_same_sign_on_as_the_document() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    // Terraform is not a package of Debian. Its module for GitLab has no provider, so it runs without a network.
    if !installed("terraform") {
        return;
    }
    let ca = fs::read_to_string(sign_on.centre.pki.ca()).unwrap();
    let address = sign_on.centre.bao.address();
    let names = json!([&NAMES[..], &SCOPES].concat()).to_string();
    let variables = [
        ("url", sign_on.issuer.as_str()),
        ("ca_pem", &ca),
        ("group", GROUP),
        ("names", &names),
        ("members_only", "true"),
        ("vault_address", &address),
    ];
    let mut outputs = Module::new("gitlab", "oidc-role.json").outputs(&variables);
    let admin = sign_on.centre.bao.admin().unwrap();
    let data = |path: &str| admin.get(path).unwrap()["data"].take();
    let config = data("auth/oidc/config");
    let wanted = outputs["config"].as_object().unwrap();
    assert_eq!(wanted.len(), 3, "{wanted:?}");
    for (key, value) in wanted {
        assert_eq!(config[key], *value, "{key}");
    }
    // OpenBao returns a role in another form, so it gets both.
    let path = "auth/oidc/role/vctl-terraform";
    admin.post(path, &outputs["role"].take()).unwrap();
    let written = data(path);
    admin.delete(path).unwrap();
    assert_eq!(written, data("auth/oidc/role/vctl"));
    let groups = outputs["groups"].as_object().unwrap();
    assert_eq!(groups.len(), 5, "{groups:?}");
    for (name, alias) in groups {
        let group = data(&format!("identity/group/name/{name}"));
        assert_eq!(group["alias"]["name"], *alias, "{name}");
    }
}

#[test]
fn the_commands_of_the_document_work() {
    let Some(sign_on) = SignOn::shared() else {
        return;
    };
    let Some(mut browser) = Browser::or_skip() else {
        return;
    };
    let document = fs::read_to_string(repository().join(DOCUMENT)).unwrap();
    let check: Vec<_> = blocks(&document)
        .into_iter()
        .filter(|(heading, _)| *heading == CHECK)
        .map(|(_, block)| block)
        .collect();
    assert_eq!(check, ["vctl login\nvctl status"]);
    let password = sign_on.account("sso-gerda", &["vctl-ssh-users", "vctl-auditors"]);
    let desk = Desk::new(sign_on);
    symlink(
        Programs::find().unwrap().vctl,
        desk.workstation.home("bin/vctl"),
    )
    .unwrap();
    // Like `desk.command`, but with a shell.
    let vctl = desk.command(&[]);
    let mut shell = Command::new("/bin/bash");
    shell
        .args(["-euc", check[0]])
        .env_clear()
        .envs(
            vctl.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(desk.workstation.home("work"));
    let mut terminal = Terminal::start(shell, 300).unwrap();
    browser.open(&desk.opened()).unwrap();
    log_in_at_the_provider(&mut browser, "sso-gerda", &password);
    browser.wait_for("You are logged in").unwrap();
    let ended = terminal.end().unwrap();
    assert!(ended.success(), "{}", terminal.shown());
    assert!(
        terminal.shown().contains("sso-gerda"),
        "{}",
        terminal.shown()
    );
    desk.has_token_of("sso-gerda", &["vctl-auditor", "vctl-ssh"]);
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
