//! Client for Vault (or OpenBao): a token that stays valid for days, and the requests made with it.
//!
//! Nothing is looked up before it is needed: the first request of a command is the one the command
//! needs.

mod auth;
mod error;
mod http;
mod lease;
mod login;
mod public;
mod raw;
mod renewal;
mod resolve;
pub mod secret_id;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::Instrument as _;
use vaultrs::api::token::requests::{RenewTokenSelfRequest, RevokeTokenSelfRequest};

use crate::causes::WithCauses;

pub use auth::{Auth, SecretIdSource};
pub use error::{VaultError, tls_hint};
pub use http::is_loopback;
pub use lease::{Lease, StoredLease};
pub use login::{Granted, Login, ask_openly, log_in, renew};
pub use public::{Endpoint, Health, health, ssh_public_key};
pub use raw::{Method, Wrapped};
pub use renewal::{margin, renews_in_full};
pub use token::TokenInfo;

use crate::centre::VaultSettings;
use crate::secret::Secret;
use crate::spans;
use auth::Session;
use http::{Request, Transport};
use renewal::Due;

/// Vault for one identity. Cheap to clone; all clones share one token.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    transport: Transport,
    settings: VaultSettings,
    auth: Auth,
    /// Locked during a login or renewal: other callers wait for that token and do not request their
    /// own.
    current: Mutex<Option<Arc<Session>>>,
}

impl Vault {
    /// Prepares requests; the first request logs in.
    ///
    /// # Errors
    /// `Address` and `Setup`, when no server can be reached with these settings.
    pub fn connect(settings: &VaultSettings, auth: Auth) -> Result<Self, VaultError> {
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(settings)?,
            settings: settings.clone(),
            auth,
            current: Mutex::new(None),
        })))
    }

    /// As `connect`, but continues with an earlier token of this identity.
    pub fn resume(
        settings: &VaultSettings,
        auth: Auth,
        token: Secret<String>,
    ) -> Result<Self, VaultError> {
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(settings)?,
            settings: settings.clone(),
            auth,
            current: Mutex::new(Some(Arc::new(Session::given(token)))),
        })))
    }

    pub fn settings(&self) -> &VaultSettings {
        &self.0.settings
    }

    /// Keeps the token valid: renews it or logs in again, when due.
    ///
    /// Every request does so by itself. A daemon that sends no requests for a long time calls this
    /// to keep its leases valid.
    pub async fn ensure_valid(&self) -> Result<(), VaultError> {
        self.session().await.map(drop)
    }

    /// Returns the token, for programs that use it.
    pub async fn token(&self) -> Result<Secret<String>, VaultError> {
        Ok(self.session().await?.token.clone())
    }

    /// Revokes a token from our own login, and so everything made with it. A token from elsewhere
    /// is not revoked.
    pub async fn revoke_self(&self) -> Result<(), VaultError> {
        let Some(session) = self.0.current.lock().await.take() else {
            return Ok(());
        };
        if !session.ours || session.life().is_over(Instant::now()) {
            return Ok(());
        }
        let request = Request::of(&RevokeTokenSelfRequest {});
        let sent = self.0.transport.send(Some(&session.token), &request).await;
        sent.map(drop)
    }

    async fn session(&self) -> Result<Arc<Session>, VaultError> {
        self.living().instrument(spans::auth()).await
    }

    async fn living(&self) -> Result<Arc<Session>, VaultError> {
        let mut current = self.0.current.lock().await;
        let Some(session) = current.as_ref().map(Arc::clone) else {
            let session = self.log_in().await?;
            *current = Some(Arc::clone(&session));
            return Ok(session);
        };
        let due = session.life().due(Instant::now());
        let refreshed = match due {
            Due::Nothing => return Ok(session),
            Due::LookUp => self.look_up(&session).await,
            Due::Renew => self.renew(&session).await,
            Due::Replace => Ok(()),
        };
        match refreshed {
            // The renewal may have shown that the lifetime no longer grows.
            Ok(()) if session.life().due(Instant::now()) != Due::Replace => return Ok(session),
            Err(error) if error.is_retryable() && !session.life().is_over(Instant::now()) => {
                tracing::debug!(error = %WithCauses(&error), "Cannot renew the Vault token; it still lives.");
                session.life().put_off(Instant::now());
                return Ok(session);
            }
            Ok(()) | Err(_) => {}
        }
        match self.log_in_again(&session).await {
            Ok(next) => {
                *current = Some(Arc::clone(&next));
                Ok(next)
            }
            Err(error) if error.is_retryable() && !session.life().is_over(Instant::now()) => {
                session.life().put_off(Instant::now());
                Ok(session)
            }
            Err(error) => Err(error),
        }
    }

    async fn log_in(&self) -> Result<Arc<Session>, VaultError> {
        let (mount, role_id, secret_id) = match &self.0.auth {
            Auth::Token(token) => return Ok(Arc::new(Session::given(token.clone()))),
            Auth::AppRole {
                mount,
                role_id,
                secret_id,
            } => (mount, role_id, secret_id.read()?),
        };
        let login = Login::AppRole {
            mount: mount.clone(),
            role_id: role_id.clone(),
            secret_id,
        };
        let asked = Instant::now();
        let granted = login::log_in_over(&self.0.transport, &login).await?;
        let ttl = granted.ttl.unwrap_or_default();
        tracing::debug!(ttl_s = ttl.as_secs(), "Logged in to Vault.");
        let session = Session::logged_in(granted.token, asked, ttl, granted.renewable);
        Ok(Arc::new(session))
    }

    async fn log_in_again(&self, ending: &Arc<Session>) -> Result<Arc<Session>, VaultError> {
        match &self.0.auth {
            Auth::AppRole { .. } => self.log_in().await,
            // Only its owner can replace this token. It is used until it ends.
            Auth::Token(_) if ending.life().is_over(Instant::now()) => {
                Err(VaultError::TokenInvalid)
            }
            Auth::Token(_) => {
                ending.life().put_off(Instant::now());
                Ok(Arc::clone(ending))
            }
        }
    }

    async fn renew(&self, session: &Session) -> Result<(), VaultError> {
        let request = Request::of(&RenewTokenSelfRequest { increment: None });
        let asked = Instant::now();
        let answer = self.0.transport.ask::<()>(Some(&session.token), &request);
        let Some(auth) = answer.await?.auth else {
            return Err(VaultError::TokenInvalid);
        };
        let ttl = Duration::from_secs(auth.lease_duration);
        session.life().renewed(asked, ttl, auth.renewable);
        Ok(())
    }

    async fn look_up(&self, session: &Session) -> Result<(), VaultError> {
        let asked = Instant::now();
        let info = self.look_up_token(session).await?;
        let ttl = info.ttl.unwrap_or_default();
        session.life().looked_up(asked, ttl, info.renewable);
        Ok(())
    }

    /// Sends a request with a valid token. If the token may be the reason for a failure, sends it
    /// again with a new token. Returns the token of the successful request.
    async fn call(&self, request: &Request) -> Result<(Vec<u8>, Arc<Session>), VaultError> {
        let session = self.session().await?;
        let transport = &self.0.transport;
        match transport.send(Some(&session.token), request).await {
            Ok(answer) => Ok((answer, session)),
            Err(denied @ VaultError::Denied { .. }) => {
                let session = self.after_denial(session, denied).await?;
                let answer = transport.send(Some(&session.token), request).await?;
                Ok((answer, session))
            }
            Err(other) => Err(other),
        }
    }

    /// Decides what a denial means. Vault gives the same answer for a token that ended early
    /// (revoked, or the machine slept) and for missing policies. Returns another token to try, or
    /// the error.
    async fn after_denial(
        &self,
        session: Arc<Session>,
        denied: VaultError,
    ) -> Result<Arc<Session>, VaultError> {
        let alive = match self.look_up_token(&session).await {
            Ok(_) => true,
            Err(VaultError::TokenInvalid) => false,
            Err(other) => return Err(other),
        };
        match &self.0.auth {
            Auth::Token(_) if alive => return Err(denied),
            Auth::Token(_) => return Err(VaultError::TokenInvalid),
            // The role may have got a policy since; a token keeps the policies of its login.
            Auth::AppRole { .. } if alive && session.life().age(Instant::now()) < RELOGIN => {
                return Err(denied);
            }
            Auth::AppRole { .. } => {}
        }
        let mut current = self.0.current.lock().await;
        if let Some(other) = current.as_ref().filter(|c| !Arc::ptr_eq(c, &session)) {
            return Ok(Arc::clone(other));
        }
        let next = self.log_in().await?;
        *current = Some(Arc::clone(&next));
        Ok(next)
    }

    /// Returns whether `session` is the current one.
    async fn is_current(&self, session: &Arc<Session>) -> bool {
        let current = self.0.current.lock().await;
        current.as_ref().is_some_and(|c| Arc::ptr_eq(c, session))
    }
}

/// Shortest time between two logins that try for new policies.
const RELOGIN: Duration = Duration::from_mins(5);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("addr", &self.0.settings.addr)
            .finish_non_exhaustive()
    }
}
