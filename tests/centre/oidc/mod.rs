//! Single sign-on: a real provider, a real browser, a real terminal.
//!
//! OpenBao's own identity provider is in GitLab's place, and `auth/oidc` is what the commands in
//! `deploy/vault/oidc-phase2.md` make of it.

mod browser;
mod phase2;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;
use vctl_tests::browser::Browser;
use vctl_tests::centre::{Centre, Secret};
use vctl_tests::lab::eventually;
use vctl_tests::terminal::Terminal;

use crate::login::Workstation;

/// The group in the provider that has the three in it.
const GROUP: &str = "sre";

/// A centre whose people come from a provider.
struct SignOn {
    centre: &'static Centre,
    /// What the provider gave for the application.
    client_id: String,
    client_secret: String,
    issuer: String,
}

impl SignOn {
    /// Returns the one that all specs of this process share, set up as the document says.
    fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<SignOn>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let sign_on = Self::of(Centre::shared()?);
            phase2::set_up(&sign_on);
            Some(sign_on)
        });
        shared.as_ref()
    }

    /// Makes the provider, with an application as the document describes it.
    fn of(centre: &'static Centre) -> Self {
        let admin = centre.bao.admin().unwrap();
        let base = format!("https://localhost:{}", centre.bao.port);
        let put = |path: &str, body| admin.post(&format!("identity/oidc/{path}"), &body).unwrap();
        put("key/gitlab", json!({"allowed_client_ids": "*"}));
        let profile = r#"{"preferred_username": {{identity.entity.name}}, "groups_direct": {{identity.entity.groups.names}}}"#;
        put("scope/profile", json!({ "template": profile }));
        let email = r#"{"email": {{identity.entity.metadata.email}}}"#;
        put("scope/email", json!({ "template": email }));
        let application = json!({
            "key": "gitlab",
            "assignments": "allow_all",
            "redirect_uris": [
                "http://localhost:8250/oidc/callback",
                format!("{}/ui/vault/auth/oidc/oidc/callback", centre.bao.address()),
            ],
        });
        put("client/gitlab", application);
        let application = admin.get("identity/oidc/client/gitlab").unwrap();
        let [client_id, client_secret] = ["client_id", "client_secret"]
            .map(|field| application["data"][field].as_str().unwrap().to_owned());
        let provider = json!({
            "issuer": base,
            "allowed_client_ids": client_id,
            "scopes_supported": ["profile", "email"],
        });
        put("provider/gitlab", provider);
        Self {
            centre,
            client_id,
            client_secret,
            issuer: format!("{base}/v1/identity/oidc/provider/gitlab"),
        }
    }

    /// Makes an account at the provider, in these of its groups, and returns the password.
    fn account(&self, name: &str, groups: &[&str]) -> String {
        let admin = self.centre.bao.admin().unwrap();
        let password = Secret::random().unwrap().expose().to_owned();
        let user = json!({ "password": password, "policies": "default" });
        admin
            .post(&format!("auth/userpass/users/{name}"), &user)
            .unwrap();
        let entity = json!({"name": name, "metadata": {"email": format!("{name}@example.net")}});
        let entity = admin.post("identity/entity", &entity).unwrap();
        let id = &entity["data"]["id"];
        let mounts = admin.get("sys/auth").unwrap();
        let accessor = &mounts["data"]["userpass/"]["accessor"];
        let alias = json!({"name": name, "canonical_id": id, "mount_accessor": accessor});
        admin.post("identity/entity-alias", &alias).unwrap();
        for group in groups {
            // Each with its members so far.
            let path = format!("identity/group/name/{GROUP}%2F{group}");
            let reply = admin.call("GET", &path, None).unwrap();
            let mut members = reply.body["data"]["member_entity_ids"].clone();
            match members.as_array_mut() {
                Some(members) => members.push(id.clone()),
                None => members = json!([id]),
            }
            let group = json!({"name": format!("{GROUP}/{group}"), "member_entity_ids": members});
            admin.post("identity/group", &group).unwrap();
        }
        password
    }
}

/// A workstation whose `xdg-open` hands addresses to whoever holds the browser.
struct Desk<'a> {
    workstation: Workstation<'a>,
    port: u16,
}

impl Desk<'_> {
    fn new(sign_on: &SignOn) -> Desk<'static> {
        let workstation = Workstation::new(sign_on.centre);
        let bin = workstation.home("bin");
        fs::create_dir(&bin).unwrap();
        let opener = bin.join("xdg-open");
        fs::write(&opener, "#!/bin/sh\nprintf '%s' \"$1\" > \"$HOME/part\" && mv \"$HOME/part\" \"$HOME/opened\"\n").unwrap();
        fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
        let port = vctl_tests::centre::free_port().unwrap();
        Desk { workstation, port }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.workstation.command(args);
        let path = format!("{}:/usr/bin:/bin", self.workstation.home("bin").display());
        command
            .env("PATH", path)
            .env("DISPLAY", ":99")
            .env("VCTL_OIDC_CALLBACK_PORT", self.port.to_string());
        command
    }

    fn log_in(&self, args: &[&str]) -> Terminal {
        Terminal::start(self.command(&[&["login"], args].concat()), 400).unwrap()
    }

    fn opened(&self) -> PathBuf {
        self.workstation.home("opened")
    }

    /// Waits until a browser is asked for, and returns the address.
    fn address(&self) -> String {
        let file = self.opened();
        let there = eventually(std::time::Duration::from_secs(30), || Ok(file.exists()));
        assert!(there.unwrap(), "no browser was opened");
        fs::read_to_string(file).unwrap()
    }
}

/// Logs in at the provider, as a person does.
fn log_in_at_the_provider(browser: &mut Browser, name: &str, password: &str) {
    browser
        .fill("select[name=auth-method], #select-ember", "userpass")
        .unwrap();
    browser.fill("input[name=username]", name).unwrap();
    browser.fill("input[name=password]", password).unwrap();
    browser.click("button[type=submit]").unwrap();
}
