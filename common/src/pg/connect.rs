//! Opens one connection: TCP, TLS with a verified server, a credential, a login.
//!
//! `tokio_postgres::Config::connect` is not used, for three reasons. Vault makes the credential
//! during the TLS handshake, so the connection must be open before a credential is needed. The
//! verified name can differ from the dialled one. And each step that fails has its own error.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::Instrument as _;

use super::error::{PgError, Statement};
use super::limits::PoolLimits;
use super::revoker::Revocable;
use crate::centre::DbRole;
use crate::centre::DbSettings;
use crate::dial;
use crate::spans;
use crate::tls::{self, TlsProblem};
use crate::vault::Lease;
use crate::waits::{self, Kind};

type Tls = <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::Stream;

/// Address of the server, and the name and authorities to verify it with.
pub(super) struct Server {
    settings: DbSettings,
    tls: MakeRustlsConnect,
}

impl Server {
    pub(super) fn new(settings: &DbSettings) -> Result<Self, PgError> {
        let bad = |what, value: &str| PgError::Setting {
            what,
            value: value.to_owned(),
        };
        // A path would mean a Unix socket, which has no TLS.
        if settings.host.is_empty() || settings.host.starts_with('/') {
            return Err(bad("host of a Postgres server", &settings.host));
        }
        let name = settings.tls_name();
        if ServerName::try_from(name).is_err() {
            return Err(bad("name that a TLS certificate can have", name));
        }
        let tls = tls::client_config(&settings.trust).map_err(|source| PgError::Setup {
            addr: addr(settings),
            source,
        })?;
        Ok(Self {
            settings: settings.clone(),
            tls: MakeRustlsConnect::new(tls),
        })
    }

    pub(super) fn addr(&self) -> String {
        addr(&self.settings)
    }

    /// Connects with the credential that `lease` returns.
    pub(super) async fn connect(
        &self,
        role: &DbRole,
        limits: &PoolLimits,
        lease: impl Future<Output = Result<Revocable, PgError>>,
    ) -> Result<(ClientWrapper, Revocable), PgError> {
        let tcp = self.within(self.dial()).await?;
        // Both run to their end, even if one fails: otherwise a credential that Vault has just made
        // would be lost and stay valid.
        let (stream, lease) = tokio::join!(self.within(self.handshake(tcp)), lease);
        let (stream, lease) = (stream?, lease?);
        let client = Box::pin(self.within(self.log_in(stream, role, limits, lease.lease())));
        Ok((client.await?, lease))
    }

    async fn dial(&self) -> Result<TcpStream, PgError> {
        let DbSettings { host, port, .. } = &self.settings;
        let unreachable = |source| PgError::Unreachable {
            addr: self.addr(),
            source,
        };
        let tcp = dial::tcp(host, *port).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let socket = socket2::SockRef::from(&tcp);
        // A peer that vanished without closing the connection is noticed within two minutes.
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10))
            .with_retries(6);
        socket.set_tcp_keepalive(&keepalive).map_err(unreachable)?;
        #[cfg(target_os = "linux")]
        socket
            .set_tcp_user_timeout(Some(Duration::from_secs(90)))
            .map_err(unreachable)?;
        Ok(tcp)
    }

    async fn handshake(&self, mut tcp: TcpStream) -> Result<Tls, PgError> {
        // SSLRequest: its length and its code.
        let request = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        let mut answer = [0];
        let unreachable = |source| PgError::Unreachable {
            addr: self.addr(),
            source,
        };
        tcp.write_all(&request).await.map_err(unreachable)?;
        tcp.read_exact(&mut answer).await.map_err(unreachable)?;
        if answer != *b"S" {
            return Err(PgError::Plaintext { addr: self.addr() });
        }
        let server_name = self.settings.tls_name();
        let connector =
            MakeTlsConnect::<TcpStream>::make_tls_connect(&mut self.tls.clone(), server_name);
        let connector = connector.unwrap_or_else(|never: Infallible| match never {});
        connector
            .connect(tcp)
            .await
            .map_err(|source| match TlsProblem::find(&source) {
                Some(problem) => PgError::Tls {
                    addr: self.addr(),
                    server_name: server_name.to_owned(),
                    problem,
                    source,
                },
                None => unreachable(source),
            })
    }

    async fn log_in(
        &self,
        stream: Tls,
        role: &DbRole,
        limits: &PoolLimits,
        lease: &Lease,
    ) -> Result<ClientWrapper, PgError> {
        let mut config = tokio_postgres::Config::new();
        config
            .user(&lease.username)
            .password(lease.password.expose())
            .dbname(&self.settings.name)
            .application_name(&self.settings.application_name)
            // TLS is already in place; `Require` only passes it on, for channel binding.
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct);
        let settings = session_settings(limits);
        // A connection pooler refuses this parameter, also if it is empty.
        if !settings.is_empty() {
            config.options(settings);
        }
        let connected = config.connect_raw(stream, Established).await;
        let (client, connection) =
            connected.map_err(|error| self.not_let_in(error, role, lease))?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %Statement(error), "A connection to Postgres ended.");
            }
        });
        Ok(ClientWrapper::new(client, task))
    }

    fn not_let_in(&self, error: tokio_postgres::Error, role: &DbRole, lease: &Lease) -> PgError {
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

    async fn within<T>(
        &self,
        step: impl Future<Output = Result<T, PgError>>,
    ) -> Result<T, PgError> {
        let after = self.settings.connect_timeout;
        let _waiting = waits::begin(Kind::Postgres, format!("Postgres at `{}`", self.addr()));
        match timeout(after, step).instrument(spans::connect()).await {
            Ok(done) => done,
            Err(_) => Err(PgError::Timeout {
                addr: self.addr(),
                after,
            }),
        }
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

fn addr(settings: &DbSettings) -> String {
    format!("{}:{}", settings.host, settings.port)
}

/// Passes an existing TLS stream on unchanged.
struct Established;

impl TlsConnect<Tls> for Established {
    type Stream = Tls;
    type Error = io::Error;
    type Future = Ready<io::Result<Tls>>;

    fn connect(self, stream: Tls) -> Self::Future {
        ready(Ok(stream))
    }
}
