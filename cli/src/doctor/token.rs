//! Whether there is a token, whose it is, and for how long.

use std::time::Duration;

use vctl_common::person::Person;
use vctl_common::vault::{Auth, TokenInfo, Vault, VaultError};

use super::Finding;
use crate::config::{Loaded, Method};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::login::{Login, Token};
use crate::ui::ask::Interaction;
use crate::ui::time;

/// Less is not enough for what one is about to do.
const SOON: Duration = Duration::from_mins(5);

/// Somebody, to Vault.
pub(crate) struct Session {
    pub(crate) vault: Vault,
    pub(crate) info: TokenInfo,
    /// How the token was got; `None` for that in `VAULT_TOKEN`, which somebody else got.
    pub(crate) method: Option<String>,
}

pub(super) async fn probe(loaded: &Loaded, interaction: Interaction) -> Finding<Session> {
    match ask(loaded, interaction).await {
        Ok(session) => judge(
            session,
            &loaded.config.approle_mount,
            loaded.config.auth_method,
        ),
        Err(stop) => Finding::failed(stop),
    }
}

/// Returns who we are by Vault's own word: that a token is not over by our clock proves nothing.
///
/// A token that is due is renewed, and an AppRole logs in where commands would have it do so. A person is
/// never asked.
pub(crate) async fn ask(loaded: &Loaded, interaction: Interaction) -> Result<Session, Stop> {
    let mut login = Login::new(loaded, interaction);
    login.disable_prompts();
    let token = login.valid_token().await?;
    let vault = Vault::connect(&login.settings().vault, Auth::Token(token.value().clone()))?;
    let method = match &token {
        Token::FromEnv(_) => None,
        Token::Cached(token) => Some(token.method.clone()),
    };
    match vault.lookup_self().await {
        Ok(info) => Ok(Session {
            vault,
            info,
            method,
        }),
        Err(VaultError::TokenInvalid) => Err(dead(method.is_none()).into()),
        Err(other) => Err(other.into()),
    }
}

fn dead(given: bool) -> CliError {
    let (message, hint) = if given {
        (
            "the token in `VAULT_TOKEN` has expired or was revoked",
            "unset `VAULT_TOKEN` and run `vctl login`, or set it to another",
        )
    } else {
        ("the token has expired or was revoked", "run `vctl login`")
    };
    CliError::new(Exit::Permission, message).hint(hint)
}

/// Says whether a token is a machine's: got with an AppRole, which more than one may share.
pub(crate) fn is_a_machines(info: &TokenInfo, approle_mount: &str) -> bool {
    let mount = approle_mount.trim_matches('/');
    info.path == format!("auth/{mount}/login")
}

/// Returns what is wrong with who we are, and the way out.
pub(crate) fn misfit(
    info: &TokenInfo,
    given: bool,
    approle_mount: &str,
    configured: Method,
) -> Option<(String, &'static str)> {
    if configured == Method::AppRole || !is_a_machines(info, approle_mount) {
        return None;
    }
    let found = format!("a machine's identity, where `{configured}` is how a person would log in");
    let fix = if given {
        "what is done with it is nobody's in particular: unset `VAULT_TOKEN`, and run `vctl login`"
    } else {
        "what is done with it is nobody's in particular: run `vctl login`"
    };
    Some((found, fix))
}

fn judge(session: Session, approle_mount: &str, configured: Method) -> Finding<Session> {
    let Session { info, method, .. } = &session;
    let given = method.is_none();
    let found = format!(
        "{}, by {}, {}",
        Person::new(info.display_name.as_str()).name(),
        method.as_deref().unwrap_or("`VAULT_TOKEN`"),
        left(info.ttl),
    );
    if let Some((wrong, fix)) = misfit(info, given, approle_mount, configured) {
        return Finding::warn(format!("{found}: {wrong}"), fix, session);
    }
    if info.ttl.is_some_and(|ttl| ttl < SOON) && !info.renewable {
        return Finding::warn(
            found,
            "run `vctl login` before you begin something longer",
            session,
        );
    }
    Finding::pass(found, session)
}

/// Returns how long a token lives, in words.
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
    fn a_machine_where_a_person_should_be_is_warned_of_and_elsewhere_not() {
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
                misfit(info, true, mount, configured).is_some(),
                expected,
                "{mount}"
            );
        }
    }
}
