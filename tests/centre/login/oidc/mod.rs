//! Single sign-on: a real provider, a real browser and a real terminal.
//!
//! OpenBao's own identity provider stands in for GitLab. The commands in `deploy/vault/oidc-phase2.md` set up
//! `auth/oidc`.

mod browser;
mod device;
mod elsewhere;
mod form_post;
mod listener;
mod phase2;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use vctl_tests::browser::Browser;
use vctl_tests::centre::{Centre, Secret, free_port};
use vctl_tests::lab::eventually;
use vctl_tests::terminal::Terminal;

use crate::login::Workstation;

/// The parent group of the three groups at the provider.
const GROUP: &str = "sre";

/// A centre with users of an identity provider.
struct SignOn {
    centre: &'static Centre,
    /// The client id that the provider gave to the application.
    client_id: String,
    client_secret: String,
    issuer: String,
}

impl SignOn {
    /// Returns the centre that all specs of this process share, set up as in the document.
    fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<SignOn>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let sign_on = Self::of(Centre::shared()?);
            phase2::set_up_again(&sign_on);
            Some(sign_on)
        });
        shared.as_ref()
    }

    /// Sets up the provider, with an application as in the document.
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

    /// Creates an account at the provider in these groups, and returns the password.
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
            // Each group keeps its earlier members.
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

/// A workstation with an `xdg-open` that passes addresses to the spec's browser.
struct Desk {
    workstation: Workstation<'static>,
    port: u16,
}

impl Desk {
    fn new(sign_on: &SignOn) -> Self {
        let workstation = Workstation::new(sign_on.centre);
        fs::create_dir(workstation.home("bin")).unwrap();
        let port = free_port().unwrap();
        let desk = Self { workstation, port };
        desk.opens_with(
            "printf '%s' \"$1\" > \"$HOME/part\" && mv \"$HOME/part\" \"$HOME/opened\"",
        );
        desk
    }

    /// Replaces `xdg-open` with this shell line.
    fn opens_with(&self, line: &str) {
        let opener = self.workstation.home("bin/xdg-open");
        fs::write(&opener, format!("#!/bin/sh\n{line}\n")).unwrap();
        fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
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

    /// Starts a login on a terminal that is wide enough for an address.
    fn log_in(&self, args: &[&str]) -> Terminal {
        let args = [&["login"], args].concat();
        Terminal::start(self.command(&args), 1000).unwrap()
    }

    fn has_opened(&self) -> bool {
        self.workstation.home("opened").exists()
    }

    /// Waits until vctl starts a browser, and returns the address.
    fn opened(&self) -> String {
        let there = eventually(Duration::from_secs(30), || Ok(self.has_opened()));
        assert!(there.unwrap(), "vctl did not start a browser");
        fs::read_to_string(self.workstation.home("opened")).unwrap()
    }

    /// Returns the callback address with this query.
    fn callback(&self, query: &str) -> String {
        format!("http://localhost:{}/oidc/callback?{query}", self.port)
    }

    /// Expects that the stored token belongs to this user and has these policies from the groups.
    fn has_token_of(&self, name: &str, policies: &[&str]) {
        let token = self.workstation.token();
        let known = self.workstation.asked_of(&token);
        assert_eq!(known["display_name"], format!("oidc-{name}"));
        assert_eq!(known["policies"], json!(["default", "vctl-user"]));
        assert_eq!(known["identity_policies"], json!(policies));
    }

    fn has_no_token(&self) {
        assert!(!self.workstation.home(".vctl/token").exists());
    }
}

/// Returns the address that the terminal shows.
fn shown_address(terminal: &mut Terminal) -> String {
    terminal
        .wait_until(|shown| shown.contains("state="))
        .unwrap();
    let shown = terminal.shown();
    let address = shown
        .split_whitespace()
        .find(|word| word.contains("state="));
    address.unwrap().to_owned()
}

/// Returns the value that connects an answer to the login of this address.
fn state_of(address: &str) -> &str {
    let value = address.split("state=").nth(1).unwrap();
    value.split('&').next().unwrap()
}

/// Logs in at the provider, as a user does.
fn log_in_at_the_provider(browser: &mut Browser, name: &str, password: &str) {
    browser
        .fill("[data-test-select=auth-method]", "userpass")
        .unwrap();
    browser.fill("input[name=username]", name).unwrap();
    browser.fill("input[name=password]", password).unwrap();
    browser.click("#auth-submit").unwrap();
}
