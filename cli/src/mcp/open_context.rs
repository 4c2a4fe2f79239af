//! The connections to Vault and Postgres, kept from call to call while the user's token stays the same.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedRwLockReadGuard, RwLock, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use vctl_common::centre::DbRole;
use vctl_common::pg::Pool;
use vctl_common::secret::Secret;

use crate::centre::context::Context;
use crate::config::{Loaded, Method};
use crate::error::Stop;
use crate::exit_code::Exit;
use crate::files::state_dir::StateDir;
use crate::inventory::cache::SnapshotFile;
use crate::login::{Login, Token, TokenCache};
use crate::ui::ask::Interaction;

/// Time for calls to end after the end of the client, before their connections are closed.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// A context of one token, with a pool for each role that a tool has used.
pub(super) struct OpenContext {
    pub(super) context: Context,
    /// Login method of the token; `None` for the token in `VAULT_TOKEN`.
    pub(super) method: Option<String>,
    token: Secret<String>,
    /// The cached hosts.
    pub(super) hosts: SnapshotFile,
    pools: RefCell<Vec<(DbRole, Pool)>>,
    /// Locked for reading by each call. The connections are closed under a lock for writing.
    calls: Arc<RwLock<()>>,
}

impl OpenContext {
    /// Returns the pool of a role. The pool replaces its connection before the lease ends.
    pub(super) fn pool(&self, role: DbRole) -> Result<Pool, Stop> {
        let mut pools = self.pools.borrow_mut();
        if let Some((_, pool)) = pools.iter().find(|(other, _)| *other == role) {
            return Ok(pool.clone());
        }
        let pool = self.context.pool(role.clone())?;
        pools.push((role, pool.clone()));
        Ok(pool)
    }

    /// Closes the connections and revokes their credentials, once no call uses them.
    async fn close(&self, mut over: watch::Receiver<bool>) {
        let last_calls = async {
            let _ = over.wait_for(|is_over| *is_over).await;
            sleep(LAST_CALLS).await;
        };
        tokio::select! {
            _unused = self.calls.write() => {}
            () = last_calls => {}
        }
        self.context.finish(&Ok::<(), Stop>(())).await;
    }
}

/// A context that stays open until this is dropped.
struct UsedContext {
    open: Rc<OpenContext>,
    _call: OwnedRwLockReadGuard<()>,
}

/// Opens a context at the first call, and again when the user has another token.
pub(super) struct OpenContexts {
    loaded: Loaded,
    current: Mutex<Option<Rc<OpenContext>>>,
    /// Holds the token of an AppRole if the state directory cannot be written.
    cache: RefCell<TokenCache>,
    closing: RefCell<JoinSet<()>>,
    /// Becomes true when the client is gone.
    over: watch::Receiver<bool>,
}

impl OpenContexts {
    pub(super) fn new(loaded: Loaded, over: watch::Receiver<bool>) -> Self {
        Self {
            loaded,
            current: Mutex::new(None),
            cache: RefCell::new(TokenCache::in_dir(&StateDir::find())),
            closing: RefCell::default(),
            over,
        }
    }

    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Runs `work`. If Vault does not accept the token any more, runs it once more with a new token.
    pub(super) async fn run<T>(
        &self,
        work: impl AsyncFn(&OpenContext) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let used = self.get().await?;
        let done = work(&used.open).await;
        let is_denied = matches!(&done, Err(Stop::Error(error)) if error.exit == Exit::Permission);
        if !is_denied || !used.open.context.drop_revoked_token().await {
            return done;
        }
        self.retire(used).await;
        let used = self.get().await?;
        work(&used.open).await
    }

    /// Returns the context of the user's token. While the cached token is valid, this reads one file.
    ///
    /// # Errors
    /// The token has expired, and only a login in a terminal gives another one: the hint names it.
    async fn get(&self) -> Result<UsedContext, Stop> {
        let mut current = self.current.lock().await;
        let mut login = Login::new(&self.loaded, Interaction::Never);
        login.use_cache(self.cache.borrow().clone());
        let token = login.valid_token().await?;
        let method = match &token {
            Token::FromEnv(_) => None,
            Token::Cached(token) => Some(token.method.clone()),
        };
        if method != Some(Method::AppRole.to_string()) {
            // The file decides: `vctl login` in another process replaces the token there.
            self.cache.replace(TokenCache::in_dir(login.state()));
        }
        if let Some(open) = &*current
            && open.token.expose() == token.value().expose()
        {
            return Ok(used(open).await);
        }
        if let Some(old) = current.take() {
            self.close_unused(old);
        }
        let open = Rc::new(OpenContext {
            context: Context::with_token(&login, &token).await?,
            method,
            token: token.value().clone(),
            hosts: SnapshotFile::in_dir(login.state(), login.settings()),
            pools: RefCell::default(),
            calls: Arc::default(),
        });
        let used = used(&open).await;
        *current = Some(open);
        Ok(used)
    }

    /// Ends a call whose context has a revoked token. A context that replaced it stays open.
    async fn retire(&self, used: UsedContext) {
        let mut current = self.current.lock().await;
        if current
            .as_ref()
            .is_some_and(|open| Rc::ptr_eq(open, &used.open))
            && let Some(old) = current.take()
        {
            self.close_unused(old);
        }
    }

    /// Starts to close a context that no later call gets.
    fn close_unused(&self, old: Rc<OpenContext>) {
        let mut closing = self.closing.borrow_mut();
        while closing.try_join_next().is_some() {}
        let over = self.over.clone();
        closing.spawn_local(async move { old.close(over).await });
    }

    /// Closes all connections and revokes their credentials, after the end of the client.
    pub(super) async fn close(&self) {
        if let Some(open) = self.current.lock().await.take() {
            self.close_unused(open);
        }
        let mut closing = self.closing.take();
        while closing.join_next().await.is_some() {}
    }
}

/// Marks a context as used. This does not wait: only a context that no call can get is locked for writing.
async fn used(open: &Rc<OpenContext>) -> UsedContext {
    UsedContext {
        open: Rc::clone(open),
        _call: Arc::clone(&open.calls).read_owned().await,
    }
}
