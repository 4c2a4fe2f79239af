//! Login to Vault: gets a token, caches it between commands, renews and replaces it.

mod announce;
mod approle;
mod cache;
mod centre_id;
mod db_login_file;
mod db_memory;
mod denied;
mod env_token;
mod last_method;
mod life;
mod method;
mod oidc;
mod register;
mod renew;
mod seen_user;
mod unfinished;
mod userpass;
pub(crate) mod db_logins;
pub(crate) mod own_grants;
pub(crate) mod seen_user_store;
pub(crate) mod text;
pub(crate) mod token_renewal;
pub(crate) mod whoami;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tracing::Instrument as _;
use vctl_common::centre::Settings;
use vctl_common::secret::Secret;
use vctl_common::spans;
use vctl_common::vault::{Auth, Granted, TokenInfo, Vault};

use crate::config::{self, Loaded, Method};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::state_dir::StateDir;
use crate::ui::ask::{self, Interaction};

pub(crate) use approle::AppRoleIds;
pub(crate) use cache::{CachedToken, LOCK_WAIT, Token, TokenCache, TokenLock, VaultScope};
pub(crate) use centre_id::CentreId;
use env_token::env_token;
pub(crate) use env_token::{note_if_env_token_is_ignored, note_if_env_token_wins};
use last_method::LastLogin;
pub(crate) use life::TokenAction;
pub(crate) use oidc::OidcChoices;
use own_grants::OwnGrant;
pub(crate) use register::Registered;
pub(crate) use renew::Renewed;

/// Options of `vctl login`.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub(crate) username: Option<String>,
    /// From standard input, read before any prompt.
    pub(crate) password: Option<Secret<String>>,
    pub(crate) token: Option<Secret<String>>,
    pub(crate) oidc: OidcChoices,
}

/// Whether a login fails if the token cannot be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CachePolicy {
    Required,
    /// The command continues with the token.
    BestEffort,
}

/// Provides a token for a command.
pub(crate) struct Login<'a> {
    loaded: &'a Loaded,
    settings: Settings,
    state: StateDir,
    cache: TokenCache,
    interaction: Interaction,
    /// Whether to start an interactive login when necessary.
    asks: bool,
    /// Grants of the user, as Postgres reported them when it recorded the login.
    grants: RefCell<Option<Vec<OwnGrant>>>,
}

impl<'a> Login<'a> {
    pub(crate) fn new(loaded: &'a Loaded, interaction: Interaction) -> Self {
        let state = StateDir::find();
        Self {
            loaded,
            settings: config::settings(loaded),
            cache: TokenCache::in_dir(&state),
            state,
            interaction,
            asks: true,
            grants: RefCell::default(),
        }
    }

    /// Disables interactive logins: they become an error with the hint `vctl login`. Unlike with
    /// [`Interaction::Never`], an AppRole does not replace the login of a person.
    pub(crate) fn disable_prompts(&mut self) {
        self.asks = false;
    }

    /// Uses the cache of an earlier login of this process, which may hold a token that could not be written.
    pub(crate) fn use_cache(&mut self, cache: TokenCache) {
        self.cache = cache;
    }

    /// Sets the timeout for each answer of Vault.
    pub(crate) fn answer_within(&mut self, limit: Duration) {
        self.settings.vault.timeout = limit;
    }

    /// Returns the user's grants, if the last login of this process was recorded in Postgres.
    pub(crate) fn take_grants(&self) -> Option<Vec<OwnGrant>> {
        self.grants.take()
    }

    pub(crate) fn cache(&self) -> &TokenCache {
        &self.cache
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn state(&self) -> &StateDir {
        &self.state
    }

    /// Returns the database logins that commands with this token share.
    pub(crate) fn db_logins(&self, token: &Token) -> Option<db_logins::DbLogins> {
        let (settings, keep) = (&self.settings, self.loaded.config.db_login_keep.0);
        db_logins::DbLogins::of(&self.state, &self.cache, token.cached()?, settings, keep)
    }

    /// Returns the server and namespace of these settings.
    pub(crate) fn binding(&self) -> VaultScope {
        let config = &self.loaded.config;
        VaultScope::new(&config.vault_addr, config.vault_namespace.as_deref())
    }

    /// Returns the cached token for this server, even if it has expired.
    pub(crate) fn cached(&self) -> Result<Option<CachedToken>, CliError> {
        let binding = self.binding();
        Ok(self.cache.read()?.filter(|token| token.is_for(&binding)))
    }

    /// Returns a valid token: from the environment, from the cache, or from a new login. Makes no network
    /// connection while the cached token is valid.
    ///
    /// # Errors
    /// `Permission`, with the hint `vctl login`, when only an interactive login could get a token.
    pub(crate) async fn valid_token(&self) -> Result<Token, Stop> {
        if let Some(token) = env_token()? {
            return Ok(Token::FromEnv(token));
        }
        Ok(Token::Cached(Box::new(self.valid_login().await?)))
    }

    /// Like [`valid_token`](Self::valid_token), without the token of the environment.
    pub(crate) async fn valid_login(&self) -> Result<CachedToken, Stop> {
        if let Some(token) = self.cached()?
            && token.life.next(Timestamp::now()) == TokenAction::Use
        {
            return Ok(token);
        }
        self.fresh_token().instrument(spans::auth()).await
    }

    /// Returns a client of Vault with this token. With the ids of an AppRole, the client can also log in again.
    pub(crate) async fn vault(&self, token: &Token) -> Result<Vault, Stop> {
        let (vault, config) = (&self.settings.vault, &self.loaded.config);
        let ours =
            matches!(token, Token::Cached(token) if token.method == Method::AppRole.to_string());
        if ours
            && let Some(ids) = AppRoleIds::find(config, &self.state)
            && let Some(auth) = Box::pin(ids.auth(vault, &config.approle_mount)).await
        {
            return Ok(Vault::resume(vault, auth, token.value().clone())?);
        }
        Ok(Vault::connect(vault, Auth::Token(token.value().clone()))?)
    }

    /// Renews or replaces the cached token if necessary. A lock ensures that only one process of a user does so.
    async fn fresh_token(&self) -> Result<CachedToken, Stop> {
        let lock = self.lock().await?;
        // Another process may have renewed it during the wait for the lock.
        if let Some(token) = self.cached()? {
            match token.life.next(Timestamp::now()) {
                TokenAction::Use => return Ok(token),
                TokenAction::Renew => match self.renew(&token, &lock).await {
                    Ok(Renewed::Extended(renewed)) => return Ok(renewed),
                    Ok(Renewed::AtMaxTtl | Renewed::Invalid) => {}
                    // If the server is unreachable, the rest of the lifetime is used.
                    Err(Stop::Error(error))
                        if error.exit.is_transient() && !token.life.is_over(Timestamp::now()) =>
                    {
                        return Ok(token);
                    }
                    Err(other) => return Err(other),
                },
                TokenAction::Replace => {}
            }
        }
        self.replace(&lock).await
    }

    /// Prevents other vctl processes of this user from renewing or logging in at the same time.
    pub(crate) async fn lock(&self) -> Result<TokenLock, CliError> {
        let interaction = if self.asks {
            self.interaction
        } else {
            Interaction::Never
        };
        self.cache.lock(interaction).await
    }

    /// Logs in with the usual method, and caches the token.
    pub(crate) async fn replace(&self, _lock: &TokenLock) -> Result<CachedToken, Stop> {
        let cached = self.cached()?;
        let method = self.method_for_new_login(cached.as_ref())?;
        let choices = self.usual_choices(method, Choices::default());
        // No notice for a job that continues with its AppRole.
        if method != Method::AppRole {
            self.announce_another(cached.as_ref());
            self.announce(method, &choices);
        }
        self.log_in_with_lock(method, &choices, CachePolicy::BestEffort)
            .await
    }

    /// Returns the properties of a token from another source, as Vault reports them.
    pub(crate) async fn describe(&self, token: &Secret<String>) -> Result<CachedToken, Stop> {
        let asked = Timestamp::now();
        let vault = Vault::connect(&self.settings.vault, Auth::Token(token.clone()))?;
        let info = vault.lookup_self().await?;
        let granted = from_info(token.clone(), &info);
        let name = &info.display_name;
        Ok(CachedToken::new(
            self.binding(),
            &Method::Token.to_string(),
            &granted,
            name,
            asked,
        ))
    }

    /// Logs in, and caches the token.
    ///
    /// # Errors
    /// Also if the token cannot be cached: a login is for the next commands.
    pub(crate) async fn log_in(
        &self,
        method: Method,
        choices: &Choices,
    ) -> Result<CachedToken, Stop> {
        self.cache.check()?;
        let _lock = self.lock().await?;
        self.announce(method, choices);
        let done = self.log_in_with_lock(method, choices, CachePolicy::Required);
        done.instrument(spans::auth()).await
    }

    async fn log_in_with_lock(
        &self,
        method: Method,
        choices: &Choices,
        policy: CachePolicy,
    ) -> Result<CachedToken, Stop> {
        let granted = self.grant(method, choices).await?;
        // Another request gets the remaining lifetime: the user may have taken minutes since the token was issued.
        let vault = Vault::connect(&self.settings.vault, Auth::Token(granted.token.clone()))?;
        let asked = Timestamp::now();
        let info = vault.lookup_self().await;
        let info = info.map_err(|error| env_token::refused(method, error))?;
        let granted = match method {
            Method::Token => from_info(granted.token, &info),
            _ => Granted {
                ttl: granted.ttl.and(info.ttl),
                ..granted
            },
        };
        let name = &info.display_name;
        let token = CachedToken::new(self.binding(), &method.to_string(), &granted, name, asked);
        match policy {
            CachePolicy::Required => self.cache.write(&token)?,
            CachePolicy::BestEffort => self.cache.write_or_note(&token),
        }
        // A given token is not a method for the next login.
        if method != Method::Token {
            let login = LastLogin::new(self.binding(), method, choices.username.clone());
            last_method::record(&self.state, login);
        }
        if method != Method::AppRole {
            let grants = seen_user::record(&vault, &self.settings.db, name).await;
            self.grants.replace(grants);
        }
        Ok(token)
    }

    async fn grant(&self, method: Method, choices: &Choices) -> Result<Granted, Stop> {
        let (vault, config) = (&self.settings.vault, &self.loaded.config);
        match method {
            Method::AppRole => {
                let ids = AppRoleIds::find(config, &self.state).ok_or_else(approle::missing_ids)?;
                let login = ids.login(vault, &config.approle_mount).await?;
                approle::log_in(vault, config, &login).await
            }
            Method::Userpass => userpass::log_in(vault, config, choices, self.interaction).await,
            Method::Token => {
                let token = match (&choices.token, self.interaction.refusal()) {
                    (Some(token), _) => token.clone(),
                    (None, None) => {
                        let question = format!("Token for {}: ", vault.addr);
                        ask::hidden(self.interaction, &question).await?
                    }
                    (None, Some(reason)) => {
                        let message = format!("the token is missing, and {reason}");
                        let error = CliError::new(Exit::Permission, message);
                        return Err(error.hint("use `vctl login --token-stdin`").into());
                    }
                };
                Ok(given_token(token))
            }
            Method::Oidc => oidc::log_in(vault, config, &choices.oidc, self.interaction).await,
        }
    }
}

/// Returns a given token, without properties: only the server knows them.
fn given_token(token: Secret<String>) -> Granted {
    Granted {
        token,
        accessor: String::new(),
        ttl: None,
        renewable: false,
        policies: Vec::new(),
        meta: BTreeMap::new(),
    }
}

fn from_info(token: Secret<String>, info: &TokenInfo) -> Granted {
    Granted {
        accessor: info.accessor.clone(),
        ttl: info.ttl,
        renewable: info.renewable,
        policies: info.policies.clone(),
        meta: info.meta.clone(),
        ..given_token(token)
    }
}
