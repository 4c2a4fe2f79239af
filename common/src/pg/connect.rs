//! Opens one connection: TCP, TLS with a verified server, a credential, a login.
//!
//! `tokio_postgres::Config::connect` is not used, for four reasons. Vault makes the credential
//! during the TLS handshake, so the connection must be open before a credential is needed. The
//! verified name can differ from the dialled one. Each step that fails has its own error. And a known server needs fewer
//! round trips ([`Shortcuts`](super::Shortcuts)).

use std::future::{Future, Ready, ready};
use std::io;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::TlsConnect;

use super::compat::Compat;
use super::error::{PgError, Statement};
use super::limits::PoolLimits;
use super::login::{self, Ended, Login, LoginError};
use super::replay::Replay;
use super::revoker::Revocable;
use super::server::Server;
use super::shortcuts::Shortcuts;
use super::tls_stream::{self, Tls};
use crate::centre::DbRole;
use crate::vault::Lease;

/// A new connection.
pub(super) struct Connected {
    pub(super) client: ClientWrapper,
    pub(super) lease: Revocable,
    /// Versions of the schema, if the login already asked for them.
    pub(super) compat: Option<Compat>,
}

impl Server {
    /// Connects with the credential that `lease` returns.
    pub(super) async fn connect(
        &self,
        role: &DbRole,
        limits: &PoolLimits,
        lease: impl Future<Output = Result<Revocable, PgError>>,
    ) -> Result<Connected, PgError> {
        // A server that cannot be reached costs no credential.
        let tcp = self.within(self.dial()).await?;
        // Both run to their end, even if one fails: otherwise a credential that Vault has just made
        // would be lost and stay valid.
        let (stream, lease) = tokio::join!(self.encrypt(tcp), lease);
        let (stream, lease) = (stream?, lease?);
        let (client, compat) = Box::pin(self.log_in(stream, role, limits, lease.lease())).await?;
        Ok(Connected {
            client,
            lease,
            compat,
        })
    }

    /// Logs in, within one time limit.
    async fn log_in(
        &self,
        stream: Tls,
        role: &DbRole,
        limits: &PoolLimits,
        lease: &Lease,
    ) -> Result<(ClientWrapper, Option<Compat>), PgError> {
        let at_once = self.shortcuts.shortcuts().scram == Some(true);
        let done = self.within(async {
            let options = session_settings(limits);
            let login = self.login(limits, lease, &options);
            let (stream, ended) = self.exchange(stream, &login, at_once).await?;
            let (messages, compat) = match ended {
                Ended::Ready {
                    messages,
                    server_version,
                    compat,
                } => {
                    self.shortcuts
                        .change_shortcuts(&|known| known.after_login(&server_version));
                    (messages, compat)
                }
                Ended::Unfinished(messages) => (messages, None),
            };
            let client = self
                .client(Replay::new(stream, messages), role, lease)
                .await?;
            Ok((client, compat))
        });
        let done = Box::pin(done).await;
        if at_once && matches!(done, Err(PgError::Timeout { .. })) {
            // A proxy may lose what was sent ahead.
            self.shortcuts.change_shortcuts(&Shortcuts::without_scram);
        }
        done
    }

    /// Exchanges the messages of the login, again on another connection if the server did not take what was sent ahead.
    async fn exchange(
        &self,
        mut stream: Tls,
        login: &Login<'_>,
        at_once: bool,
    ) -> Result<(Tls, Ended), PgError> {
        let end_point = tls_stream::end_point(&stream);
        let ended = login::log_in(&mut stream, login, end_point, at_once).await;
        match ended {
            Ok(ended) => return Ok((stream, ended)),
            Err(LoginError::Io(_)) if at_once => {}
            Err(error) => return Err(self.login_broke(error)),
        }
        // The server counts it as a connection of this login.
        drop(stream);
        let mut stream = Box::pin(self.encrypt(self.dial().await?)).await?;
        let end_point = tls_stream::end_point(&stream);
        let ended = login::log_in(&mut stream, login, end_point, false).await;
        let ended = ended.map_err(|error| self.login_broke(error))?;
        if asks_for_authentication(&ended) {
            self.shortcuts.change_shortcuts(&Shortcuts::without_scram);
        }
        Ok((stream, ended))
    }

    fn login<'a>(&'a self, limits: &PoolLimits, lease: &'a Lease, options: &'a str) -> Login<'a> {
        let mut parameters = vec![
            ("client_encoding", "UTF8"),
            ("user", &*lease.username),
            ("database", &self.settings.name),
            ("application_name", &self.settings.application_name),
        ];
        // A connection pooler refuses this parameter, also if it is empty.
        if !options.is_empty() {
            parameters.push(("options", options));
        }
        Login {
            parameters,
            password: lease.password.expose().as_bytes(),
            asks_versions: !limits.any_schema,
        }
    }

    fn login_broke(&self, error: LoginError) -> PgError {
        let addr = self.addr();
        match error {
            LoginError::Io(source) => PgError::LoginBroke { addr, source },
            LoginError::Unproven(source) => PgError::Unproven { addr, source },
        }
    }

    /// Returns the client of a stream, after the login or to make it.
    async fn client(
        &self,
        stream: Replay<Tls>,
        role: &DbRole,
        lease: &Lease,
    ) -> Result<ClientWrapper, PgError> {
        let mut config = tokio_postgres::Config::new();
        config
            .user(&lease.username)
            .password(lease.password.expose())
            // TLS is already in place; `Require` only passes it on, for channel binding.
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
        let connected = config.connect_raw(stream, Established).await;
        let (client, connection) =
            connected.map_err(|error| self.login_error(error, role, lease))?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %Statement(error), "A connection to Postgres ended.");
            }
        });
        Ok(ClientWrapper::new(client, task))
    }

    fn login_error(&self, error: tokio_postgres::Error, role: &DbRole, lease: &Lease) -> PgError {
        let code = error.code().cloned();
        let source = Statement(error);
        match code {
            Some(SqlState::TOO_MANY_CONNECTIONS | SqlState::CONFIGURATION_LIMIT_EXCEEDED) => {
                PgError::TooManyConnections {
                    addr: self.addr(),
                    source,
                }
            }
            Some(SqlState::INVALID_CATALOG_NAME) => PgError::NoDatabase {
                addr: self.addr(),
                name: self.settings.name.clone(),
                source,
            },
            // The server is starting, stopping or recovering.
            Some(code) if code.code().starts_with("57") => PgError::Broken(source),
            Some(_) => PgError::Login {
                addr: self.addr(),
                login: lease.username.clone(),
                role: role.clone(),
                source,
            },
            None => PgError::Broken(source),
        }
    }
}

/// Returns whether the server went on with the login. One that starts or stops breaks a connection too, and that says
/// nothing about later logins.
fn asks_for_authentication(ended: &Ended) -> bool {
    match ended {
        Ended::Ready { .. } => true,
        Ended::Unfinished(messages) => messages.first() == Some(&b'R'),
    }
}

/// Returns the settings of the session, which the login sends. A `set` would cost a round trip.
fn session_settings(limits: &PoolLimits) -> String {
    let mut settings = Vec::new();
    if let Some(limit) = limits.statement_timeout {
        settings.push(format!("-c statement_timeout={}", limit.as_millis()));
    }
    if limits.custom_plans {
        settings.push("-c plan_cache_mode=force_custom_plan".to_owned());
    }
    settings.join(" ")
}

/// Passes an existing TLS stream on unchanged.
struct Established;

impl TlsConnect<Replay<Tls>> for Established {
    type Stream = Replay<Tls>;
    type Error = io::Error;
    type Future = Ready<io::Result<Replay<Tls>>>;

    fn connect(self, stream: Replay<Tls>) -> Self::Future {
        ready(Ok(stream))
    }
}
