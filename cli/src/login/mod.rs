//! A token of one's own: kept between commands, renewed in time, and got anew when it has to be.

mod announce;
mod approle;
mod cache;
mod env_token;
mod last_method;
mod life;
mod method;
mod oidc;
mod register;
mod seen_user;
mod userpass;
pub(crate) mod seen_user_store;
pub(crate) mod text;
pub(crate) mod token_renewal;
pub(crate) mod whoami;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tracing::Instrument as _;
use vctl_common::centre::Settings;
use vctl_common::phase;
use vctl_common::secret::Secret;
use vctl_common::vault::{self, Auth, Granted, TokenInfo, Vault, VaultError};

use crate::config::{self, Loaded, Method};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::ask;

use super::files::state_dir::StateDir;
use super::ui::ask::Interaction;
pub(crate) use approle::Ids;
pub(crate) use cache::{Binding, Cache, CachedToken, Lock};
use env_token::given;
pub(crate) use env_token::note_when_overridden;
use last_method::LastLogin;
pub(crate) use life::Next;
pub(crate) use oidc::OidcChoices;
pub(crate) use register::Registered;

/// What `vctl login` was told beside the configuration.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub(crate) username: Option<String>,
    /// From standard input, read before anything is asked of anybody.
    pub(crate) password: Option<Secret<String>>,
    pub(crate) token: Option<Secret<String>>,
    pub(crate) oidc: OidcChoices,
}

/// How a token stands after somebody tried to renew it.
#[derive(Debug)]
pub(crate) enum Renewed {
    Lives(CachedToken),
    /// It lives, and renewing it gives nothing more.
    AtItsEnd,
    /// It is no longer one.
    Dead,
}

/// A valid token, and where it came from.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    /// `VAULT_TOKEN`: somebody else's to renew and to end.
    Given(Secret<String>),
    Ours(Box<CachedToken>),
}

impl Token {
    pub(crate) fn value(&self) -> &Secret<String> {
        match self {
            Self::Given(token) => token,
            Self::Ours(token) => &token.token,
        }
    }
}

/// Whether a login that cannot be kept has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    Must,
    /// A command goes on with it.
    May,
}

/// The way to a token.
pub(crate) struct Login<'a> {
    loaded: &'a Loaded,
    settings: Settings,
    state: StateDir,
    cache: Cache,
    interaction: Interaction,
    /// Whether a person may be asked to log in where one is due.
    asks: bool,
}

impl<'a> Login<'a> {
    pub(crate) fn new(loaded: &'a Loaded, interaction: Interaction) -> Self {
        let state = StateDir::find();
        Self {
            loaded,
            settings: config::settings(loaded),
            cache: Cache::in_dir(&state),
            state,
            interaction,
            asks: true,
        }
    }

    /// From now on, where a person would have to log in, that is an error which names `vctl login`. Unlike
    /// with [`Interaction::Never`], no AppRole takes the place of a person who is there.
    pub(crate) fn ask_nobody(&mut self) {
        self.asks = false;
    }

    /// Waits no longer than this for each answer of Vault.
    pub(crate) fn answer_within(&mut self, limit: Duration) {
        self.settings.vault.timeout = limit;
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn state(&self) -> &StateDir {
        &self.state
    }

    /// Where a token of these settings is one.
    pub(crate) fn binding(&self) -> Binding {
        let config = &self.loaded.config;
        Binding::new(&config.vault_addr, config.vault_namespace.as_deref())
    }

    /// Returns the token that was kept for this Vault, whatever is left of it.
    pub(crate) fn kept(&self) -> Result<Option<CachedToken>, CliError> {
        let binding = self.binding();
        Ok(self.cache.read()?.filter(|token| token.is_for(&binding)))
    }

    /// Returns a token that is good for a while: the one in the environment, the one that was kept,
    /// or a new one. Nothing is asked of the server while the kept one is good.
    ///
    /// # Errors
    /// `Permission`, naming `vctl login`, when only a person could get one and none may be asked.
    pub(crate) async fn valid_token(&self) -> Result<Token, Stop> {
        if let Some(token) = given()? {
            return Ok(Token::Given(token));
        }
        if let Some(token) = self.kept()?
            && token.life.next(Timestamp::now()) == Next::Use
        {
            return Ok(Token::Ours(Box::new(token)));
        }
        self.fresh_token().instrument(phase::auth()).await
    }

    /// Returns Vault with this token. As a machine that can log in by itself, it goes on doing so.
    pub(crate) async fn vault(&self, token: &Token) -> Result<Vault, Stop> {
        let (vault, config) = (&self.settings.vault, &self.loaded.config);
        let ours =
            matches!(token, Token::Ours(token) if token.method == Method::AppRole.to_string());
        if ours && let Some(ids) = Ids::find(config, &self.state) {
            let auth = ids.auth(vault, &config.approle_mount).await?;
            return Ok(Vault::resume(vault, auth, token.value().clone())?);
        }
        Ok(Vault::connect(vault, Auth::Token(token.value().clone()))?)
    }

    /// Returns the token that is kept once it was renewed or replaced, when that is due. Only one
    /// command of a person at a time does so.
    async fn fresh_token(&self) -> Result<Token, Stop> {
        let lock = self.lock().await?;
        // Somebody else may have done it while we waited.
        if let Some(token) = self.kept()? {
            match token.life.next(Timestamp::now()) {
                Next::Use => return Ok(Token::Ours(Box::new(token))),
                Next::Renew => match self.renew(&token).await {
                    Ok(Renewed::Lives(renewed)) => return Ok(Token::Ours(Box::new(renewed))),
                    Ok(Renewed::AtItsEnd | Renewed::Dead) => {}
                    // A server that cannot be asked takes nothing away: what is left serves on.
                    Err(Stop::Error(error))
                        if error.exit.is_transient() && !token.life.is_over(Timestamp::now()) =>
                    {
                        return Ok(Token::Ours(Box::new(token)));
                    }
                    Err(other) => return Err(other),
                },
                Next::Replace => {}
            }
        }
        let token = self.replace(&lock).await?;
        Ok(Token::Ours(Box::new(token)))
    }

    /// Keeps every other vctl of this person from renewing or logging in at the same time.
    pub(crate) async fn lock(&self) -> Result<Lock, CliError> {
        let interaction = if self.asks {
            self.interaction
        } else {
            Interaction::Never
        };
        self.cache.lock(interaction).await
    }

    /// Renews a token, and keeps it when it is the one that is kept.
    ///
    /// # Errors
    /// The server could not be asked.
    pub(crate) async fn renew(&self, token: &CachedToken) -> Result<Renewed, Stop> {
        let asked = Timestamp::now();
        let granted = match vault::renew(&self.settings.vault, &token.token).await {
            Ok(granted) => granted,
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(error @ (VaultError::Tls { .. } | VaultError::Setup { .. })) => {
                return Err(error.into());
            }
            Err(VaultError::TokenInvalid) => return Ok(Renewed::Dead),
            // It lives, and is not to be renewed.
            Err(_) => return Ok(Renewed::AtItsEnd),
        };
        let mut renewed = token.clone();
        renewed.life = token.life.renewed(asked, granted.ttl, granted.renewable);
        let same = |kept: &CachedToken| kept.token.expose() == token.token.expose();
        if self.kept()?.as_ref().is_some_and(same) {
            self.cache.keep(&renewed);
        }
        Ok(match renewed.life.next(asked) {
            Next::Replace => Renewed::AtItsEnd,
            Next::Use | Next::Renew => Renewed::Lives(renewed),
        })
    }

    /// Logs in as nobody said how, and keeps the token.
    pub(crate) async fn replace(&self, _lock: &Lock) -> Result<CachedToken, Stop> {
        let kept = self.kept()?;
        let method = self.method_for_another(kept.as_ref())?;
        let choices = self.usual_choices(method, Choices::default());
        // A job that goes on with its AppRole has nobody to tell.
        if method != Method::AppRole {
            self.announce_another(kept.as_ref());
            self.announce(method, &choices);
        }
        self.log_in_locked(method, &choices, Keeping::May).await
    }

    /// Returns what the server knows of a token that we did not get.
    pub(crate) async fn describe(&self, token: &Secret<String>) -> Result<CachedToken, Stop> {
        let asked = Timestamp::now();
        let vault = Vault::connect(&self.settings.vault, Auth::Token(token.clone()))?;
        let info = vault.lookup_self().await?;
        let granted = of_info(token.clone(), &info);
        let name = &info.display_name;
        Ok(CachedToken::new(
            self.binding(),
            &Method::Token.to_string(),
            &granted,
            name,
            asked,
        ))
    }

    /// Logs in, and keeps the token.
    ///
    /// # Errors
    /// Also where it cannot be kept: a login is for the next command.
    pub(crate) async fn log_in(
        &self,
        method: Method,
        choices: &Choices,
    ) -> Result<CachedToken, Stop> {
        self.cache.check()?;
        let _lock = self.lock().await?;
        self.announce(method, choices);
        let done = self.log_in_locked(method, choices, Keeping::Must);
        done.instrument(phase::auth()).await
    }

    async fn log_in_locked(
        &self,
        method: Method,
        choices: &Choices,
        keeping: Keeping,
    ) -> Result<CachedToken, Stop> {
        let granted = self.grant(method, choices).await?;
        // One question more: whose it is, and what is left of it. A person, a browser or a paste may have taken
        // minutes before the token was given.
        let vault = Vault::connect(&self.settings.vault, Auth::Token(granted.token.clone()))?;
        let asked = Timestamp::now();
        let info = vault.lookup_self().await;
        let info = info.map_err(|error| env_token::refused(method, error))?;
        let granted = match method {
            Method::Token => of_info(granted.token, &info),
            _ => Granted {
                ttl: granted.ttl.and(info.ttl),
                ..granted
            },
        };
        let name = &info.display_name;
        let token = CachedToken::new(self.binding(), &method.to_string(), &granted, name, asked);
        match keeping {
            Keeping::Must => self.cache.write(&token)?,
            Keeping::May => self.cache.keep(&token),
        }
        // A token that was brought along says nothing of how to get another.
        if method != Method::Token {
            let username = choices.username.clone();
            let login = LastLogin::new(self.binding(), method, username);
            last_method::record(&self.state, login);
        }
        if method != Method::AppRole {
            seen_user::record(&vault, &self.settings.db, name).await;
        }
        Ok(token)
    }

    async fn grant(&self, method: Method, choices: &Choices) -> Result<Granted, Stop> {
        let (vault, config) = (&self.settings.vault, &self.loaded.config);
        match method {
            Method::AppRole => {
                let ids = Ids::find(config, &self.state).ok_or_else(no_ids)?;
                let login = ids.login(vault, &config.approle_mount).await?;
                vault::log_in(vault, &login).await.map_err(|error| match error {
                    VaultError::LoginRefused { message, .. } if message == "permission denied" => {
                        let what = format!("Vault refuses the login by AppRole: {message}");
                        let hint = "check `VCTL_APPROLE_MOUNT`: Vault may have no AppRole method there";
                        CliError::new(Exit::Config, what).hint(hint).into()
                    }
                    VaultError::LoginRefused { .. } => {
                        let hint = "its secret id has expired, was used up, or is another role's: ask for a new one";
                        CliError::new(Exit::Permission, error.to_string()).hint(hint).into()
                    }
                    other => other.into(),
                })
            }
            Method::Userpass => userpass::log_in(vault, config, choices, self.interaction).await,
            Method::Token => {
                let token = match (&choices.token, self.interaction) {
                    (Some(token), _) => token.clone(),
                    (None, Interaction::Allowed) => {
                        ask::hidden(&format!("Token for {}: ", vault.addr)).await?
                    }
                    (None, Interaction::Never) => {
                        let message = "there is no terminal to ask for the token on";
                        let error = CliError::new(Exit::Permission, message);
                        return Err(error.hint("give it with `vctl login --token-stdin`").into());
                    }
                };
                Ok(brought(token))
            }
            Method::Oidc => oidc::log_in(vault, config, &choices.oidc, self.interaction).await,
        }
    }
}

/// A token somebody brought along: what it is worth, only the server knows.
fn brought(token: Secret<String>) -> Granted {
    Granted {
        token,
        accessor: String::new(),
        ttl: None,
        renewable: false,
        policies: Vec::new(),
        meta: BTreeMap::new(),
    }
}

fn of_info(token: Secret<String>, info: &TokenInfo) -> Granted {
    Granted {
        accessor: info.accessor.clone(),
        ttl: info.ttl,
        renewable: info.renewable,
        policies: info.policies.clone(),
        meta: info.meta.clone(),
        ..brought(token)
    }
}

fn no_ids() -> CliError {
    CliError::new(
        Exit::Config,
        "there are no role id and secret id to log in with",
    )
    .hint(
        "set `VCTL_ROLE_ID_FILE` and `VCTL_SECRET_ID_FILE`, or `VCTL_ROLE_ID` and `VCTL_SECRET_ID`",
    )
}
