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

use bytes::Bytes;
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
use super::tls_stream::Tls;
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
        Ok(Self {
            settings: settings.clone(),
            tls: TlsConnector::from(Arc::new(tls)),
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
        // Both run to their end, even if one fails: otherwise a credential that Vault has just made
        // would be lost and stay valid.
        let (stream, lease) = tokio::join!(self.open(), lease);
        let (stream, lease) = (stream?, lease?);
        let (client, compat) = Box::pin(self.log_in(stream, role, limits, lease.lease())).await?;
        Ok(Connected {
            client,
            lease,
            compat,
        })
    }

    /// Opens a stream to the verified server.
    async fn open(&self) -> Result<Tls, PgError> {
        let known = self.shortcuts.shortcuts();
        if known.direct_tls == Some(true) {
            let tcp = self.within(self.dial()).await?;
            let opened = self.within(self.handshake(tcp)).await;
            let refused = |direct_tls| Shortcuts {
                direct_tls,
                ..known
            };
            match opened {
                // A pooler, or the server is an older one again. It closes the connection, or answers in plain text.
                Err(
                    PgError::Unreachable { .. }
                    | PgError::Tls {
                        problem: TlsProblem::NoTls,
                        ..
                    },
                ) => self.shortcuts.keep_shortcuts(refused(Some(false))),
                Err(error @ PgError::Timeout { .. }) => {
                    self.shortcuts.keep_shortcuts(refused(None));
                    return Err(error);
                }
                done => return done,
            }
        }
        let tcp = self.within(self.dial()).await?;
        self.within(async { self.handshake(self.ask_for_tls(tcp).await?).await })
            .await
    }

    async fn dial(&self) -> Result<TcpStream, PgError> {
        let DbSettings { host, port, .. } = &self.settings;
        let broken = |source| self.broken(source);
        let tcp = dial::tcp(host, *port).await.map_err(broken)?;
        tcp.set_nodelay(true).map_err(broken)?;
        let socket = socket2::SockRef::from(&tcp);
        // A peer that vanished without closing the connection is noticed within two minutes.
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10))
            .with_retries(6);
        socket.set_tcp_keepalive(&keepalive).map_err(broken)?;
        #[cfg(target_os = "linux")]
        socket
            .set_tcp_user_timeout(Some(Duration::from_secs(90)))
            .map_err(broken)?;
        Ok(tcp)
    }

    async fn ask_for_tls(&self, mut tcp: TcpStream) -> Result<TcpStream, PgError> {
        // SSLRequest: its length and its code.
        let request = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        let mut answer = [0];
        let broken = |source| self.broken(source);
        tcp.write_all(&request).await.map_err(broken)?;
        tcp.read_exact(&mut answer).await.map_err(broken)?;
        if answer != *b"S" {
            return Err(PgError::Plaintext { addr: self.addr() });
        }
        Ok(tcp)
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<Tls, PgError> {
        let server_name = self.settings.tls_name();
        // `new` has checked the name.
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|error| self.broken(io::Error::other(error)))?;
        let connected = self.tls.connect(name, tcp).await;
        connected
            .map(Tls::new)
            .map_err(|source| match TlsProblem::find(&source) {
                Some(problem) => PgError::Tls {
                    addr: self.addr(),
                    server_name: server_name.to_owned(),
                    problem,
                    source,
                },
                None => self.broken(source),
            })
    }

    fn broken(&self, source: io::Error) -> PgError {
        PgError::Unreachable {
            addr: self.addr(),
            source,
        }
    }

    async fn log_in(
        &self,
        mut stream: Tls,
        role: &DbRole,
        limits: &PoolLimits,
        lease: &Lease,
    ) -> Result<(ClientWrapper, Option<Compat>), PgError> {
        let options = session_settings(limits);
        let mut login = Login {
            parameters: vec![
                ("client_encoding", "UTF8"),
                ("user", &lease.username),
                ("database", &self.settings.name),
                ("application_name", &self.settings.application_name),
            ],
            password: lease.password.expose().as_bytes(),
            asks_versions: !limits.any_schema,
            end_point: stream.end_point(),
        };
        // A connection pooler refuses this parameter, also if it is empty.
        if !options.is_empty() {
            login.parameters.push(("options", &options));
        }
        let known = self.shortcuts.shortcuts();
        let mut ended = self.try_login(&mut stream, &login, known.scram).await;
        if known.scram && !matches!(ended, Ok(Ended::Ready { .. } | Ended::Said(_))) {
            self.shortcuts.keep_shortcuts(Shortcuts {
                scram: false,
                ..known
            });
        }
        if matches!(ended, Ok(Ended::NoScram)) {
            stream = self.open().await?;
            ended = self.try_login(&mut stream, &login, false).await;
        }
        let (said, compat) = match ended? {
            Ended::Ready {
                said,
                server_version,
                compat,
            } => {
                let kept = self.shortcuts.shortcuts();
                let learned = kept.after_login(&server_version);
                if learned != kept {
                    self.shortcuts.keep_shortcuts(learned);
                }
                (said, compat)
            }
            Ended::Said(said) => (said, None),
            Ended::NoScram => (Bytes::new(), None),
        };
        let stream = Replay::new(stream, said);
        let client = self.within(self.client(stream, role, lease)).await?;
        Ok((client, compat))
    }

    async fn try_login(
        &self,
        stream: &mut Tls,
        login: &Login<'_>,
        at_once: bool,
    ) -> Result<Ended, PgError> {
        self.within(async {
            let ended = login::log_in(stream, login, at_once).await;
            ended.map_err(|error| match error {
                LoginError::Io(source) => self.broken(source),
                LoginError::Unproven(source) => PgError::Unproven {
                    addr: self.addr(),
                    source,
                },
            })
        })
        .await
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
