//! The connections to Vault and Postgres, kept from call to call while the user's token stays the same.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Mutex;
use tokio::task::spawn_local;
use vctl_common::centre::DbRole;
use vctl_common::pg::Pool;
use vctl_common::secret::Secret;

use crate::centre::context::Context;
use crate::config::Loaded;
use crate::error::Stop;
use crate::exit_code::Exit;
use crate::login::{Login, Token};
use crate::ui::ask::Interaction;

/// A context of one token, with a pool for each role that a tool has used.
pub(super) struct OpenContext {
    pub(super) context: Context,
    /// Login method of the token; `None` for the token in `VAULT_TOKEN`.
    pub(super) method: Option<String>,
    token: Secret<String>,
    pools: RefCell<Vec<(DbRole, Pool)>>,
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
}

/// Opens a context at the first call, and again when the user has another token.
pub(super) struct OpenContexts {
    loaded: Loaded,
    current: Mutex<Option<Rc<OpenContext>>>,
}

impl OpenContexts {
    pub(super) fn new(loaded: Loaded) -> Self {
        Self {
            loaded,
            current: Mutex::new(None),
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
        let open = self.get().await?;
        let done = work(&open).await;
        let is_denied = matches!(&done, Err(Stop::Error(error)) if error.exit == Exit::Permission);
        if !is_denied || !open.context.drop_revoked_token().await {
            return done;
        }
        self.close().await;
        let open = self.get().await?;
        work(&open).await
    }

    /// Returns the context of the user's token. While the cached token is valid, this reads one file.
    ///
    /// # Errors
    /// The token has expired, and only a login in a terminal gives another one: the hint names it.
    async fn get(&self) -> Result<Rc<OpenContext>, Stop> {
        let mut current = self.current.lock().await;
        let login = Login::new(&self.loaded, Interaction::Never);
        let token = login.valid_token().await?;
        if let Some(open) = &*current
            && open.token.expose() == token.value().expose()
        {
            return Ok(Rc::clone(open));
        }
        if let Some(old) = current.take() {
            // Calls that still use it end first; its credentials are revoked meanwhile.
            spawn_local(async move { old.context.finish(&Ok::<(), Stop>(())).await });
        }
        let open = Rc::new(OpenContext {
            context: Context::with_token(&login, &token).await?,
            method: match &token {
                Token::FromEnv(_) => None,
                Token::Cached(token) => Some(token.method.clone()),
            },
            token: token.value().clone(),
            pools: RefCell::default(),
        });
        *current = Some(Rc::clone(&open));
        Ok(open)
    }

    /// Closes the connections and revokes their credentials.
    pub(super) async fn close(&self) {
        if let Some(open) = self.current.lock().await.take() {
            open.context.finish(&Ok::<(), Stop>(())).await;
        }
    }
}
