//! Check: is there a valid token, for which identity, and when does it expire?

use std::sync::Arc;
use std::time::Duration;

use vctl_common::person::Person;
use vctl_common::pg::SharedLogins;
use vctl_common::vault::{Auth, TokenInfo, Vault, VaultError};

use super::CheckResult;
use crate::config::{Loaded, Method};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::login::{Login, Token};
use crate::ui::ask::Interaction;
use crate::ui::time;

/// Remaining lifetime below which a token that cannot be renewed gives a warning.
const SOON: Duration = Duration::from_mins(5);

/// A valid token, with Vault's information about it.
pub(crate) struct Session {
    pub(crate) vault: Vault,
    pub(crate) info: TokenInfo,
    /// Login method of the token; `None` for the token in `VAULT_TOKEN`.
    pub(crate) method: Option<String>,
}

pub(super) async fn check(loaded: &Loaded, interaction: Interaction) -> CheckResult<Session> {
    match ask(loaded, interaction).await {
        Ok(session) => judge(
            session,
            &loaded.config.approle_mount,
            loaded.config.auth_method,
        ),
        Err(stop) => CheckResult::failed(stop),
    }
}

/// Returns the token and what Vault reports about it. A token that is not expired by our clock may still be revoked,
/// so Vault is asked.
pub(crate) async fn ask(loaded: &Loaded, interaction: Interaction) -> Result<Session, Stop> {
    open(loaded, interaction).await?.look_up().await
}

/// A token that is not expired by our clock.
pub(crate) struct OpenToken {
    pub(crate) vault: Vault,
    /// The database logins that commands with this token share.
    pub(crate) logins: Option<Arc<dyn SharedLogins>>,
    method: Option<String>,
}

/// Returns the token. It is renewed if due, and an AppRole logs in as for other commands. The user is never prompted.
pub(crate) async fn open(loaded: &Loaded, interaction: Interaction) -> Result<OpenToken, Stop> {
    let mut login = Login::new(loaded, interaction);
    login.disable_prompts();
    let token = login.valid_token().await?;
    let vault = Vault::connect(&login.settings().vault, Auth::Token(token.value().clone()))?;
    let method = match &token {
        Token::FromEnv(_) => None,
        Token::Cached(token) => Some(token.method.clone()),
    };
    let logins = login.db_logins(&token);
    Ok(OpenToken {
        vault,
        logins: logins.map(|logins| Arc::new(logins) as _),
        method,
    })
}

impl OpenToken {
    /// Asks Vault about the token.
    pub(crate) async fn look_up(&self) -> Result<Session, Stop> {
        match self.vault.lookup_self().await {
            Ok(info) => Ok(Session {
                vault: self.vault.clone(),
                info,
                method: self.method.clone(),
            }),
            Err(VaultError::TokenInvalid) => Err(invalid_token(self.method.is_none()).into()),
            Err(other) => Err(other.into()),
        }
    }
}

fn invalid_token(given: bool) -> CliError {
    let (message, hint) = if given {
        (
            "the token in `VAULT_TOKEN` has expired or was revoked",
            "unset `VAULT_TOKEN` and run `vctl login`, or set it to another token",
        )
    } else {
        ("the token has expired or was revoked", "run `vctl login`")
    };
    CliError::new(Exit::Permission, message).hint(hint)
}

/// Returns whether the token was created by an AppRole, whose credentials several users may share.
pub(crate) fn is_machine_token(info: &TokenInfo, approle_mount: &str) -> bool {
    let mount = approle_mount.trim_matches('/');
    info.path == format!("auth/{mount}/login")
}

/// Returns the warning about the identity, and the fix.
pub(crate) fn identity_warning(
    info: &TokenInfo,
    given: bool,
    approle_mount: &str,
    configured: Method,
) -> Option<(String, &'static str)> {
    if configured == Method::AppRole || !is_machine_token(info, approle_mount) {
        return None;
    }
    let found = format!("a machine's identity, but the login method is `{configured}`");
    let fix = if given {
        "actions with it cannot be attributed to a person: unset `VAULT_TOKEN`, and run `vctl login`"
    } else {
        "actions with it cannot be attributed to a person: run `vctl login`"
    };
    Some((found, fix))
}

fn judge(session: Session, approle_mount: &str, configured: Method) -> CheckResult<Session> {
    let Session { info, method, .. } = &session;
    let given = method.is_none();
    let found = format!(
        "{}, by {}, {}",
        Person::new(info.display_name.as_str()).name(),
        method.as_deref().unwrap_or("`VAULT_TOKEN`"),
        left(info.ttl),
    );
    if let Some((wrong, fix)) = identity_warning(info, given, approle_mount, configured) {
        return CheckResult::warn(format!("{found}: {wrong}"), fix, session);
    }
    if info.ttl.is_some_and(|ttl| ttl < SOON) && !info.renewable {
        return CheckResult::warn(
            found,
            "run `vctl login` before you start longer work",
            session,
        );
    }
    CheckResult::pass(found, session)
}

/// Returns the remaining lifetime of a token in words.
pub(crate) fn left(ttl: Option<Duration>) -> String {
    match ttl {
        Some(ttl) => format!("{} left", time::duration(ttl)),
        None => "never expires".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(crate) fn info(path: &str, ttl_s: u64, policies: &[&str]) -> TokenInfo {
        TokenInfo {
            display_name: "userpass-albert".to_owned(),
            policies: policies.iter().map(|&policy| policy.to_owned()).collect(),
            ttl: Some(Duration::from_secs(ttl_s)),
            renewable: false,
            accessor: String::new(),
            path: path.to_owned(),
            entity_id: None,
            meta: BTreeMap::new(),
        }
    }

    #[test]
    fn machine_identity_is_a_warning_unless_configured() {
        let machine = info("auth/approle/login", 3600, &[]);
        let person = info("auth/userpass/login/albert", 3600, &[]);
        for (info, mount, configured, expected) in [
            (&machine, "approle", Method::Oidc, true),
            (&machine, "approle/", Method::Userpass, true),
            (&machine, "approle", Method::AppRole, false),
            (&machine, "machines", Method::Oidc, false),
            (&person, "approle", Method::Oidc, false),
        ] {
            assert_eq!(
                identity_warning(info, true, mount, configured).is_some(),
                expected,
                "{mount}"
            );
        }
    }
}
