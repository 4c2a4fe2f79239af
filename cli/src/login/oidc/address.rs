//! Where Vault sends the browser.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use vctl_common::secret::Secret;
use vctl_common::vault::{self, Method, VaultError};

use super::Attempt;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Path of the redirect URI, as every Vault client has it.
pub(super) const PATH: &str = "/oidc/callback";

/// Which way the person's answer takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flow {
    /// A browser comes back to this port.
    Browser { port: u16 },
    /// Vault asks the provider.
    Device,
}

/// What Vault made for one login.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) url: Url,
    /// Ties the answer to this login.
    pub(super) state: Secret<String>,
    pub(super) user_code: Option<String>,
    pub(super) poll_interval_s: Option<u64>,
}

#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    auth_url: String,
    #[serde(default)]
    state: Option<Secret<String>>,
    #[serde(default)]
    user_code: Option<String>,
    /// A number in quotes.
    #[serde(default)]
    poll_interval: Option<String>,
}

/// Returns 256 bits that nobody can guess.
pub(super) fn nonce() -> Result<Secret<String>, CliError> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CliError::new(Exit::Failure, "the system gives no random numbers"))?;
    Ok(Secret::new(Base64UrlUnpadded::encode_string(&bytes)))
}

pub(super) fn redirect_uri(port: u16) -> String {
    format!("http://localhost:{port}{PATH}")
}

impl Attempt<'_> {
    /// Has Vault make the address for the browser.
    pub(super) async fn address(&self, flow: Flow) -> Result<Address, Stop> {
        let mut body = json!({ "role": self.role, "client_nonce": self.client_nonce.expose() });
        if let Flow::Browser { port } = flow {
            body["redirect_uri"] = redirect_uri(port).into();
        }
        let path = format!("auth/{}/oidc/auth_url", self.mount);
        let asked = vault::ask_openly(self.vault, Method::PUT, &path, Some(&body)).await;
        let data = asked.map_err(|error| self.no_address(error, flow))?;
        let made: Made = serde_json::from_value(data).map_err(|error| {
            let message = format!("cannot make sense of Vault's answer to `{path}`");
            CliError::new(Exit::Failure, message).caused_by(&error)
        })?;
        if made.auth_url.is_empty() {
            return Err(self.refuses(flow).into());
        }
        let url = checked(&made.auth_url)?;
        let state = match flow {
            Flow::Browser { .. } => state_of(&url),
            Flow::Device => made.state,
        };
        let Some(state) = state.filter(|state| !state.expose().is_empty()) else {
            return Err(self.other_flow(flow).into());
        };
        Ok(Address {
            url,
            state,
            user_code: made.user_code,
            poll_interval_s: made
                .poll_interval
                .and_then(|interval| interval.parse().ok()),
        })
    }

    fn no_address(&self, error: VaultError, flow: Flow) -> Stop {
        let (mount, role) = (self.mount, self.role);
        match error {
            // A server where nothing is mounted there says either.
            VaultError::NotFound { .. } | VaultError::Denied { .. } => {
                let message = format!("Vault has no single sign-on at `auth/{mount}`");
                let hint = "check `VCTL_OIDC_MOUNT`, or log in with `--method userpass`";
                CliError::new(Exit::Config, message).hint(hint).into()
            }
            // The device flow is the one without a redirect URI.
            VaultError::Http {
                status: 400,
                message,
                ..
            } if message.contains("missing redirect_uri") => self.other_flow(flow).into(),
            VaultError::Http {
                status: 400,
                message,
                ..
            } => {
                let message =
                    format!("Vault offers no single sign-on with the role `{role}`: {message}");
                let hint = format!(
                    "check `VCTL_OIDC_ROLE`; an administrator sets up `auth/{mount}/config` and `auth/{mount}/role/{role}` with `vault write`; or log in with `--method userpass`"
                );
                CliError::new(Exit::Config, message).hint(hint).into()
            }
            VaultError::Http { message, .. } if message.contains("device auth") => {
                let message = "the identity provider has no login from another device";
                let hint = format!(
                    "`auth/{mount}/role/{role}` has `callback_mode=device`: name another with `--role`"
                );
                CliError::new(Exit::Config, message).hint(hint).into()
            }
            VaultError::Http {
                status: 500,
                message,
                ..
            } => {
                let message = format!("Vault cannot ask the identity provider: {message}");
                let hint = format!(
                    "an administrator compares `oidc_discovery_url` with the provider: `vault read auth/{mount}/config`"
                );
                CliError::new(Exit::Unavailable, message).hint(hint).into()
            }
            other => other.into(),
        }
    }

    /// An empty address is how Vault says no without saying why; its log says it.
    fn refuses(&self, flow: Flow) -> CliError {
        let (mount, role) = (self.mount, self.role);
        let message = format!("Vault gives no address to log in at with the role `{role}`");
        let hint = match flow {
            Flow::Browser { port } => format!(
                "`allowed_redirect_uris` of `auth/{mount}/role/{role}` needs `{}`; Vault's log says more",
                redirect_uri(port)
            ),
            Flow::Device => "Vault's log says why".to_owned(),
        };
        CliError::new(Exit::Config, message).hint(hint)
    }

    fn other_flow(&self, flow: Flow) -> CliError {
        let (mount, role) = (self.mount, self.role);
        let (message, hint) = match flow {
            Flow::Browser { .. } => (
                format!(
                    "the address that Vault gives for the role `{role}` is not one that a browser comes back from"
                ),
                format!(
                    "log in with `--device` where `auth/{mount}/role/{role}` has `callback_mode=device`"
                ),
            ),
            Flow::Device => (
                format!("the role `{role}` has no login from another device"),
                format!(
                    "leave `--device` out, or name with `--role` one of `auth/{mount}` with `callback_mode=device`, which OpenBao has and Vault has not"
                ),
            ),
        };
        CliError::new(Exit::Config, message).hint(hint)
    }
}

/// A browser, and whatever else opens addresses on a desktop, gets only what leads to a web page.
fn checked(address: &str) -> Result<Url, CliError> {
    let url = Url::parse(address).ok();
    let web = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    web.filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| {
            let message = format!("Vault gives `{address}` to log in at, and that is no web page");
            CliError::new(Exit::Failure, message)
        })
}

fn state_of(url: &Url) -> Option<Secret<String>> {
    let mut pairs = url.query_pairs();
    let state = pairs.find(|(name, _)| name == "state")?.1;
    Some(Secret::new(state.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_web_page_is_opened() {
        for good in [
            "https://login.example/a?state=1",
            "http://localhost:8200/ui",
        ] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "vscode://x/y",
            "--help",
            "/etc/passwd",
            "https://",
            "https://login.example@elsewhere.example/",
            "https://:x@elsewhere.example/",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        // Nothing in one moves the cursor.
        let url = checked("https://a.example/\u{1b}[2J\u{202e}?state=\u{7}").unwrap();
        assert!(
            url.as_str().bytes().all(|byte| byte.is_ascii_graphic()),
            "{url}"
        );
    }

    #[test]
    fn no_two_nonces_are_the_same() {
        let [one, other] = [nonce(), nonce()].map(Result::unwrap);
        assert_eq!(one.expose().len(), 43);
        assert_ne!(one.expose(), other.expose());
    }
}
