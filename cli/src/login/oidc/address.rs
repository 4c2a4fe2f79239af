//! The login address that Vault creates for the browser.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use vctl_common::secret::Secret;
use vctl_common::vault::{self, Method, VaultError};

use super::attempt::OidcLogin;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Path of the redirect URI, the same for all Vault clients.
pub(super) const PATH: &str = "/oidc/callback";

/// The way in which the answer returns.
#[derive(Clone, Copy, Debug)]
pub(super) enum LoginFlow {
    /// The browser is redirected to this port.
    Browser { port: u16 },
    /// Vault polls the provider.
    Device,
}

/// The address for one login, and its secrets.
#[derive(Debug)]
pub(super) struct LoginAddress {
    pub(super) url: Url,
    /// Ties the answer to this login.
    pub(super) state: Secret<String>,
    pub(super) user_code: Option<String>,
    pub(super) poll_interval_s: Option<u64>,
}

#[derive(Deserialize)]
struct AuthUrlResponse {
    #[serde(default)]
    auth_url: String,
    #[serde(default)]
    state: Option<Secret<String>>,
    #[serde(default)]
    user_code: Option<String>,
    /// A number as a string.
    #[serde(default)]
    poll_interval: Option<String>,
}

/// Returns 256 random bits.
pub(super) fn nonce() -> Result<Secret<String>, CliError> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CliError::new(Exit::Failure, "the system does not provide random numbers"))?;
    Ok(Secret::new(Base64UrlUnpadded::encode_string(&bytes)))
}

pub(super) fn redirect_uri(port: u16) -> String {
    format!("http://localhost:{port}{PATH}")
}

impl OidcLogin<'_> {
    /// Requests the address for the browser from Vault.
    pub(super) async fn address(&self, flow: LoginFlow) -> Result<LoginAddress, Stop> {
        let mut body = json!({ "role": self.role, "client_nonce": self.client_nonce.expose() });
        if let LoginFlow::Browser { port } = flow {
            body["redirect_uri"] = redirect_uri(port).into();
        }
        let path = format!("auth/{}/oidc/auth_url", self.mount);
        let asked = vault::ask_openly(self.vault, Method::PUT, &path, Some(&body)).await;
        let data = asked.map_err(|error| self.no_address(error, flow))?;
        let made: AuthUrlResponse = serde_json::from_value(data).map_err(|error| {
            let message = format!("cannot parse Vault's answer to `{path}`");
            CliError::new(Exit::Failure, message).caused_by(&error)
        })?;
        if made.auth_url.is_empty() {
            return Err(self.refuses(flow).into());
        }
        let url = checked(&made.auth_url)?;
        let state = match flow {
            LoginFlow::Browser { .. } => state_of(&url),
            LoginFlow::Device => made.state,
        };
        let Some(state) = state.filter(|state| !state.expose().is_empty()) else {
            return Err(self.other_flow(flow).into());
        };
        Ok(LoginAddress {
            url,
            state,
            user_code: made.user_code,
            poll_interval_s: made
                .poll_interval
                .and_then(|interval| interval.parse().ok()),
        })
    }

    fn no_address(&self, error: VaultError, flow: LoginFlow) -> Stop {
        let (mount, role) = (self.mount, self.role);
        match error {
            // Without an auth method at the path, servers answer with one or the other.
            VaultError::NotFound { .. } | VaultError::Denied { .. } => {
                let message = format!("Vault does not offer single sign-on at `auth/{mount}`");
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
                    format!("Vault refused single sign-on with the role `{role}`: {message}");
                let hint = format!(
                    "check `VCTL_OIDC_ROLE`; an administrator sets up `auth/{mount}/config` and `auth/{mount}/role/{role}` with `vault write`; or log in with `--method userpass`"
                );
                CliError::new(Exit::Config, message).hint(hint).into()
            }
            VaultError::Http { message, .. } if message.contains("device auth") => {
                let message = "the identity provider does not support login from another device";
                let hint = format!(
                    "`auth/{mount}/role/{role}` has `callback_mode=device`: use another role with `--role`"
                );
                CliError::new(Exit::Config, message).hint(hint).into()
            }
            VaultError::Http {
                status: 500,
                message,
                ..
            } => {
                let message = format!("Vault cannot reach the identity provider: {message}");
                let hint = format!(
                    "an administrator checks `oidc_discovery_url`: `vault read auth/{mount}/config`"
                );
                CliError::new(Exit::Unavailable, message).hint(hint).into()
            }
            other => other.into(),
        }
    }

    /// Returns the error for an empty address: Vault refused, and gives the reason only in its log.
    fn refuses(&self, flow: LoginFlow) -> CliError {
        let (mount, role) = (self.mount, self.role);
        let message = format!("Vault did not return a login address for the role `{role}`");
        let hint = match flow {
            LoginFlow::Browser { port } => format!(
                "`allowed_redirect_uris` of `auth/{mount}/role/{role}` must contain `{}`; see also Vault's log",
                redirect_uri(port)
            ),
            LoginFlow::Device => "see Vault's log".to_owned(),
        };
        CliError::new(Exit::Config, message).hint(hint)
    }

    fn other_flow(&self, flow: LoginFlow) -> CliError {
        let (mount, role) = (self.mount, self.role);
        let (message, hint) = match flow {
            LoginFlow::Browser { .. } => (
                format!("the login address for the role `{role}` has no redirect to this machine"),
                format!("use `--device` if `auth/{mount}/role/{role}` has `callback_mode=device`"),
            ),
            LoginFlow::Device => (
                format!("the role `{role}` does not support login from another device"),
                format!(
                    "leave out `--device`, or use `--role` with a role of `auth/{mount}` that has `callback_mode=device` (OpenBao only)"
                ),
            ),
        };
        CliError::new(Exit::Config, message).hint(hint)
    }
}

/// Returns the address if it is a web page: a desktop would open other addresses with other programs.
fn checked(address: &str) -> Result<Url, CliError> {
    let url = Url::parse(address).ok();
    let web = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    web.filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| {
            let message = format!("the login address `{address}` from Vault is not a web page");
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
