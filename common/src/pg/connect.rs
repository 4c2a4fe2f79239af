//! Opens one connection: TCP, TLS with a verified server, a credential, a login.
//!
//! `tokio_postgres::Config::connect` is not used, for four reasons. Vault makes the credential
//! during the TLS handshake, so the connection must be open before a credential is needed. The
//! verified name can differ from the dialled one. Each step that fails has its own error. And a known server needs fewer
//! round trips ([`Shortcuts`](super::Shortcuts)).

use std::future::{Future, Ready, ready};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::TlsConnect;
use tokio_rustls::TlsConnector;
use tracing::Instrument as _;

use super::compat::Compat;
use super::error::{PgError, Statement};
use super::limits::PoolLimits;
use super::login::{self, Ended, Login, LoginError};
use super::replay::Replay;
use super::revoker::Revocable;
use super::shortcuts::{ShortcutStore, Shortcuts};
use super::tls_stream::{self, Tls};
use crate::centre::DbRole;
use crate::centre::DbSettings;
use crate::dial;
use crate::spans;
use crate::tls::{self, TlsProblem};
use crate::vault::Lease;
use crate::waits::{self, Kind};

/// Address of the server, and the name and authorities to verify it with.
pub(super) struct Server {
    settings: DbSettings,
    tls: TlsConnector,
    /// States the protocol. Only for TLS without a request for it: some proxies refuse it otherwise.
    direct_tls: TlsConnector,
    shortcuts: Arc<dyn ShortcutStore>,
}

/// A new connection.
pub(super) struct Connected {
    pub(super) client: ClientWrapper,
    pub(super) lease: Revocable,
    /// Versions of the schema, if the login already asked for them.
    pub(super) compat: Option<Compat>,
}

impl Server {
    pub(super) fn new(
        settings: &DbSettings,
        shortcuts: Arc<dyn ShortcutStore>,
    ) -> Result<Self, PgError> {
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
        let tls = tls::postgres_config(&settings.trust).map_err(|source| PgError::Setup {
            addr: addr(settings),
            source,
        })?;
        let mut direct = tls.clone();
        direct.alpn_protocols = vec![tls::POSTGRES_ALPN.to_vec()];
        Ok(Self {
            settings: settings.clone(),
            tls: TlsConnector::from(Arc::new(tls)),
            direct_tls: TlsConnector::from(Arc::new(direct)),
            shortcuts,
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

    /// Begins TLS with the verified server, within one time limit.
    async fn encrypt(&self, tcp: TcpStream) -> Result<Tls, PgError> {
        let is_direct = self.shortcuts.shortcuts().direct_tls == Some(true);
        let encrypted = self.within(async {
            if !is_direct {
                return self
                    .handshake(&self.tls, self.ask_for_tls(tcp).await?)
                    .await;
            }
            match self.handshake(&self.direct_tls, tcp).await {
                Ok(stream) if tls_stream::is_postgres(&stream) => return Ok(stream),
                // A pooler, a proxy, or an older server again.
                Ok(_)
                | Err(
                    PgError::Unreachable { .. }
                    | PgError::Tls {
                        problem: TlsProblem::NoTls | TlsProblem::Other,
                        ..
                    },
                ) => {}
                Err(error) => return Err(error),
            }
            let tcp = self.ask_for_tls(self.dial().await?).await?;
            let stream = self.handshake(&self.tls, tcp).await?;
            self.shortcuts
                .change_shortcuts(&Shortcuts::without_direct_tls);
            Ok(stream)
        });
        let encrypted = encrypted.await;
        if is_direct && matches!(encrypted, Err(PgError::Timeout { .. })) {
            // A firewall may drop what it does not know.
            self.shortcuts
                .change_shortcuts(&Shortcuts::without_direct_tls);
        }
        encrypted
    }

    async fn dial(&self) -> Result<TcpStream, PgError> {
        let DbSettings { host, port, .. } = &self.settings;
        let unreachable = |source| self.unreachable(source);
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

    async fn ask_for_tls(&self, mut tcp: TcpStream) -> Result<TcpStream, PgError> {
        // SSLRequest: its length and its code.
        let request = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        let mut answer = [0];
        let unreachable = |source| self.unreachable(source);
        tcp.write_all(&request).await.map_err(unreachable)?;
        tcp.read_exact(&mut answer).await.map_err(unreachable)?;
        if answer != *b"S" {
            return Err(PgError::Plaintext { addr: self.addr() });
        }
        Ok(tcp)
    }

    async fn handshake(&self, tls: &TlsConnector, tcp: TcpStream) -> Result<Tls, PgError> {
        let server_name = self.settings.tls_name();
        // `new` has checked the name.
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|error| self.unreachable(io::Error::other(error)))?;
        tls.connect(name, tcp)
            .await
            .map_err(|source| match TlsProblem::find(&source) {
                Some(problem) => PgError::Tls {
                    addr: self.addr(),
                    server_name: server_name.to_owned(),
                    problem,
                    source,
                },
                None => self.unreachable(source),
            })
    }

    fn unreachable(&self, source: io::Error) -> PgError {
        PgError::Unreachable {
            addr: self.addr(),
            source,
        }
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
            let (said, compat) = match ended {
                Ended::Ready {
                    said,
                    server_version,
                    compat,
                } => {
                    self.shortcuts
                        .change_shortcuts(&|known| known.after_login(&server_version));
                    (said, compat)
                }
                Ended::Said(said) => (said, None),
            };
            let client = self.client(Replay::new(stream, said), role, lease).await?;
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
        self.shortcuts.change_shortcuts(&Shortcuts::without_scram);
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

impl TlsConnect<Replay<Tls>> for Established {
    type Stream = Replay<Tls>;
    type Error = io::Error;
    type Future = Ready<io::Result<Replay<Tls>>>;

    fn connect(self, stream: Replay<Tls>) -> Self::Future {
        ready(Ok(stream))
    }
}
