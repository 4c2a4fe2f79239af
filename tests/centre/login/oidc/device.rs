//! A login that the user confirms or rejects on another device, with a provider that supports this.

use serde_json::json;
use vctl_tests::browser::Browser;
use vctl_tests::provider::{CLIENT_SECRET, Provider};
use vctl_tests::terminal::Terminal;

use super::{Desk, SignOn};

/// A separate mount for one application of the provider.
struct Mount<'a> {
    desk: Desk,
    name: String,
    provider: &'a Provider,
}

impl<'a> Mount<'a> {
    fn new(sign_on: &SignOn, provider: &'a Provider, client_id: &str) -> Self {
        let name = format!(
            "sso-{}-{client_id}",
            provider.issuer.rsplit(':').next().unwrap()
        );
        let admin = sign_on.centre.bao.admin().unwrap();
        admin
            .post(&format!("sys/auth/{name}"), &json!({"type": "oidc"}))
            .unwrap();
        let config = json!({
            "oidc_discovery_url": provider.issuer,
            "oidc_client_id": client_id,
            "oidc_client_secret": CLIENT_SECRET,
        });
        admin.post(&format!("auth/{name}/config"), &config).unwrap();
        for (role, mode) in [("vctl", "client"), ("vctl-device", "device")] {
            let mut body: serde_json::Value =
                serde_json::from_str(include_str!("../../../../deploy/vault/oidc-role.json"))
                    .unwrap();
            body["callback_mode"] = mode.into();
            body["poll_interval"] = 1.into();
            admin
                .post(&format!("auth/{name}/role/{role}"), &body)
                .unwrap();
        }
        let desk = Desk::new(sign_on);
        Self {
            desk,
            name,
            provider,
        }
    }

    fn log_in(&self, args: &[&str]) -> Terminal {
        let mut command = self.desk.command(&[&["login"], args].concat());
        command.env("VCTL_OIDC_MOUNT", &self.name);
        Terminal::start(command, 1000).unwrap()
    }

    fn on_another_device(&self) -> Terminal {
        self.log_in(&["--device", "--role", "vctl-device"])
    }

    fn has_token_of(&self, person: &str) {
        let token = self.desk.workstation.token();
        let known = self.desk.workstation.asked_of(&token);
        assert_eq!(known["display_name"], format!("{}-{person}", self.name));
        assert_eq!(known["policies"], json!(["default", "vctl-user"]));
    }
}

/// Returns the word that stands alone on a line after this line.
fn shown_after(terminal: &mut Terminal, line: &str) -> String {
    let after = |shown: &str| {
        let (_, rest) = shown.split_once(line)?;
        let (word, _) = rest.trim_start().split_once(char::is_whitespace)?;
        Some(word.to_owned())
    };
    terminal.wait_until(|shown| after(shown).is_some()).unwrap();
    after(&terminal.shown()).unwrap()
}

/// Signs in at the provider with this name.
fn sign_in(browser: &mut Browser, person: &str) {
    browser.fill("input[name=login]", person).unwrap();
    browser.fill("input[name=password]", "any").unwrap();
    browser.click("button[type=submit]").unwrap();
}

/// Allows the application to see the user's identity.
fn consent(browser: &mut Browser) {
    let asked = "document.querySelector('input[name=prompt][value=consent]') !== null";
    browser.wait_until(asked).unwrap();
    browser.click("button[type=submit]").unwrap();
}

fn both() -> Option<(&'static SignOn, Provider, Browser)> {
    Some((SignOn::shared()?, Provider::or_skip()?, Browser::or_skip()?))
}

#[test]
fn a_login_is_confirmed_on_another_device() {
    let Some((sign_on, provider, mut browser)) = both() else {
        return;
    };
    // One application has the code in the address. For the other, the user types the code.
    for client_id in ["vctl", "vctl-code"] {
        let mount = Mount::new(sign_on, &provider, client_id);
        let mut terminal = mount.on_another_device();
        let address = shown_after(&mut terminal, "open this address on any device:");
        browser.open(&address).unwrap();
        if client_id == "vctl-code" {
            assert_eq!(address, format!("{}/device", mount.provider.issuer));
            let code = shown_after(&mut terminal, "and enter this code:");
            browser.fill("input[name=user_code]", &code).unwrap();
            browser.click("button[type=submit]").unwrap();
        } else {
            assert!(address.contains("/device?user_code="), "{address}");
        }
        browser.wait_for("Confirm Device").unwrap();
        browser.click("button[autofocus]").unwrap();
        if client_id == "vctl" {
            // At the second login, the provider recognises the user by a cookie.
            sign_in(&mut browser, "sso-frida");
        }
        consent(&mut browser);
        browser.wait_for("Sign-in Success").unwrap();
        assert!(terminal.end().unwrap().success(), "{}", terminal.shown());
        mount.has_token_of("sso-frida");
        assert!(!mount.desk.has_opened());
    }
}

#[test]
fn a_denied_device_code_ends_the_login() {
    let Some((sign_on, provider, mut browser)) = both() else {
        return;
    };
    let mount = Mount::new(sign_on, &provider, "vctl");
    let mut terminal = mount.on_another_device();
    let address = shown_after(&mut terminal, "open this address on any device:");
    browser.open(&address).unwrap();
    browser.wait_for("Confirm Device").unwrap();
    browser.click("button[name=abort]").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(77));
    assert!(
        terminal.shown().contains("access_denied"),
        "{}",
        terminal.shown()
    );

    let mut terminal = mount.log_in(&[]);
    browser.open(&mount.desk.opened()).unwrap();
    browser.wait_for("Sign-in").unwrap();
    browser.click("a[href$='/abort']").unwrap();
    browser.wait_for("The login failed").unwrap();
    browser
        .wait_for("End-User aborted interaction (access_denied)")
        .unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(77));
    let shown = terminal.shown();
    assert!(
        shown.contains("End-User aborted interaction (access_denied)"),
        "{shown}"
    );
    mount.desk.has_no_token();
}

#[test]
fn an_unused_device_code_expires() {
    let Some((sign_on, provider, _)) = both() else {
        return;
    };
    let mount = Mount::new(sign_on, &provider, "vctl-brief");
    let mut terminal = mount.on_another_device();
    assert_eq!(terminal.end().unwrap().code(), Some(77));
    assert!(
        terminal.shown().contains("expired_token"),
        "{}",
        terminal.shown()
    );
}

#[test]
fn a_provider_that_wants_to_be_asked_less_is_asked_less() {
    let Some((sign_on, provider, _)) = both() else {
        return;
    };
    let mount = Mount::new(sign_on, &provider, "vctl-slow");
    let mut terminal = mount.on_another_device();
    assert_eq!(provider.says("polled 1").unwrap(), "0");
    // The interval is one second from the role, and five more seconds since the provider asked vctl to slow down.
    for poll in ["polled 2", "polled 3"] {
        let waited: u64 = provider.says(poll).unwrap().parse().unwrap();
        assert!(waited >= 5_900, "{waited} ms");
    }
    terminal.type_in("\u{3}").unwrap();
    assert_eq!(terminal.end().unwrap().code(), Some(130));
}
