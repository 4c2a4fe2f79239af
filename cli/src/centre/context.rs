//! Everything that a command needs to reach the centre: settings, runtime, Vault, connections.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::signal::unix::SignalKind;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use vctl_common::centre::{DbRole, Settings};
use vctl_common::pg::{Client, PgError, Pool, PoolLimits, SharedLogins};
use vctl_common::secret::Secret;
use vctl_common::vault::{Vault, VaultError};

use crate::config::Loaded;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::state_dir::StateDir;
use crate::login::{LOCK_WAIT, Login, Token, TokenCache};
use crate::process::ignored_signals;
use crate::ui::ask::Interaction;
use crate::ui::notice;
use crate::ui::timing;

/// Maximum wait for Vault to revoke the credentials at the end of a command. They expire by themselves, so the user
/// need not wait longer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time after which an unused connection to Postgres is closed: a prompt or `vctl mcp` may wait for hours.
const IDLE: Duration = Duration::from_secs(10);

/// A read of the record that takes longer is too large to wait for.
const LONGEST_READ: Duration = Duration::from_mins(2);

/// Connections to the centre for one command.
pub(crate) struct Context {
    settings: Settings,
    vault: Vault,
    /// Cache of the token, and the token; `None` for a token that is not cached.
    cached: Option<(TokenCache, Secret<String>)>,
    /// Display name of the token, once it is known.
    display_name: OnceCell<String>,
    state: StateDir,
    /// Database logins of this token that other commands use too.
    logins: Option<Arc<dyn SharedLogins>>,
    pools: RefCell<Vec<Pool>>,
}

/// Runs `work` with a connection to the configured centre. Afterwards, also after Ctrl-C, the database credentials are
/// revoked, unless other commands share them.
pub(crate) fn run<T>(
    globals: &Globals,
    work: impl AsyncFnOnce(&Context) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let loaded = globals.load()?;
    let interaction = globals.interaction();
    block_on(async {
        let context = Box::pin(Context::open(&loaded, interaction));
        let context = until_stopped(notice::waiting(context)).await?;
        let done = until_stopped(notice::waiting(work(&context))).await;
        context.finish(&done).await;
        done
    })
}

/// Like [`run`], but `work` handles signals itself.
pub(crate) fn run_with_own_signals<T>(
    globals: &Globals,
    work: impl AsyncFnOnce(&Context, &Loaded) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let loaded = globals.load()?;
    let interaction = globals.interaction();
    block_on(async {
        let context = Box::pin(Context::open(&loaded, interaction));
        let context = until_stopped(notice::waiting(context)).await?;
        let done = work(&context, &loaded).await;
        context.finish(&done).await;
        done
    })
}

/// Runs `work`, which needs no database, until it ends or a signal asks the command to stop.
pub(crate) fn run_without_store<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    block_on(until_stopped(notice::waiting(work)))
}

/// Runs `work` to its end, whatever signals arrive.
pub(crate) fn run_to_the_end<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    block_on(work)
}

fn block_on<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    timing::watch(&mut runtime);
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Failure, "cannot start").caused_by(&error))?;
    let done = runtime.block_on(work);
    // A blocked thread (a name lookup, a prompt) cannot be stopped.
    runtime.shutdown_background();
    done
}

async fn until_stopped<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    tokio::select! {
        done = work => done,
        stop = stop_signal() => Err(stop),
    }
}

impl Context {
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn state(&self) -> &StateDir {
        &self.state
    }

    /// Returns the display name of the token; asks Vault if it is not known.
    pub(crate) async fn display_name(&self) -> Result<String, CliError> {
        let ask = || async { Ok::<_, CliError>(self.vault.lookup_self().await?.display_name) };
        self.display_name.get_or_try_init(ask).await.cloned()
    }

    /// Returns the display name of the token if no request is needed for it.
    pub(crate) fn known_display_name(&self) -> Option<&str> {
        self.display_name.get().map(String::as_str)
    }

    /// Returns a pool for one role; nothing is connected yet.
    pub(crate) fn pool(&self, role: DbRole) -> Result<Pool, Stop> {
        let limits = match role {
            DbRole::AuditRo => PoolLimits {
                statement_timeout: Some(LONGEST_READ),
                custom_plans: true,
                ..PoolLimits::default()
            },
            _ => PoolLimits::default(),
        };
        self.pool_within(role, limits)
    }

    /// Like `pool`, but also works if the schema is missing or does not fit this vctl.
    pub(crate) fn pool_for_any_schema(&self, role: DbRole) -> Result<Pool, Stop> {
        let limits = PoolLimits {
            any_schema: true,
            ..PoolLimits::default()
        };
        self.pool_within(role, limits)
    }

    /// Connects, with a notice if it takes long.
    pub(crate) async fn connect(&self, pool: &Pool) -> Result<Client, PgError> {
        notice::waiting(pool.get()).await
    }

    /// Connects once with this role.
    pub(crate) async fn connect_as(&self, role: DbRole) -> Result<Client, Stop> {
        Ok(self.connect(&self.pool(role)?).await?)
    }

    fn pool_within(&self, role: DbRole, mut limits: PoolLimits) -> Result<Pool, Stop> {
        // Only the login that begins the record of a revocation can add its outcome, and the steps between may wait long
        // for Vault alone.
        limits.idle = (role != DbRole::Revoke).then_some(IDLE);
        let (vault, logins) = (self.vault.clone(), self.logins.clone());
        let pool = Pool::with_logins(vault, &self.settings.db, role, limits, logins)?;
        self.pools.borrow_mut().push(pool.clone());
        Ok(pool)
    }

    /// Revokes the credentials at the end of the work, and forgets a token that Vault no longer accepts.
    pub(crate) async fn finish<T>(&self, done: &Result<T, Stop>) {
        if let Err(Stop::Error(error)) = done
            && error.exit == Exit::Permission
        {
            let _ = timeout(CLOSE_TIMEOUT, self.drop_revoked_token()).await;
        }
        // A failure here does not change the result of the command.
        let _ = timeout(CLOSE_TIMEOUT, self.close()).await;
    }

    /// Removes a revoked token from the cache, so that the next command does not fail with it. Returns whether it was
    /// revoked. The token of a newer login stays in the cache.
    pub(crate) async fn drop_revoked_token(&self) -> bool {
        if let Some((cache, token)) = &self.cached
            && let Err(VaultError::TokenInvalid) = self.vault.lookup_self().await
        {
            // Between the comparison and the removal, another vctl could write the token of a newer login.
            let _lock = cache.lock_within(LOCK_WAIT).await;
            let _ = cache.remove_only(token);
            return true;
        }
        false
    }

    async fn close(&self) {
        let pools = self.pools.take();
        futures_util::future::join_all(pools.iter().map(Pool::close)).await;
    }

    async fn open(loaded: &Loaded, interaction: Interaction) -> Result<Self, Stop> {
        let login = Login::new(loaded, interaction);
        let token = login.valid_token().await?;
        Self::with_token(&login, &token).await
    }

    /// Returns the context of a command that has its own login and handles signals itself. It must be closed.
    pub(crate) async fn with_token(login: &Login<'_>, token: &Token) -> Result<Self, Stop> {
        let vault = login.vault(token).await?;
        let settings = login.settings().clone();
        let name = match token {
            Token::Cached(token) => {
                Some(token.display_name.clone()).filter(|name| !name.is_empty())
            }
            Token::FromEnv(_) => None,
        };
        Ok(Self {
            settings,
            vault,
            cached: matches!(token, Token::Cached(_))
                .then(|| (login.cache().clone(), token.value().clone())),
            display_name: OnceCell::new_with(name),
            state: login.state().clone(),
            logins: login
                .db_logins(token)
                .map(|logins| Arc::new(logins) as Arc<dyn SharedLogins>),
            pools: RefCell::default(),
        })
    }
}

/// Waits for a signal that asks vctl to end. A signal that was ignored at the start stays ignored.
///
/// The handlers are there when this function returns: a prompt beside it may turn off the echo before the future is polled,
/// and a signal without a handler would then leave the terminal so.
pub(crate) fn stop_signal() -> impl Future<Output = Stop> {
    // The terminal sends SIGHUP when it closes, and SIGQUIT for Ctrl-\. Only Linux tells which signals were ignored at the
    // start: elsewhere a handler for these two would undo `nohup`.
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        #[cfg(target_os = "linux")]
        SignalKind::hangup(),
        #[cfg(target_os = "linux")]
        SignalKind::quit(),
    ];
    let streams: io::Result<Vec<_>> = kinds.into_iter().map(ignored_signals::stream).collect();
    async {
        let Ok(mut streams) = streams else {
            return std::future::pending().await;
        };
        let arrivals = streams
            .iter_mut()
            .map(|stream| Box::pin(ignored_signals::next(stream)));
        select_all(arrivals).await;
        Stop::Interrupted
    }
}
