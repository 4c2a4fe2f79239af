//! A Postgres server: TCP and TLS to it, with or without a request for TLS, each step within a time limit.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::Instrument as _;

use super::error::PgError;
use super::shortcuts::{ShortcutStore, Shortcuts};
use super::tls_stream::{self, Tls};
use crate::centre::DbSettings;
use crate::dial;
use crate::spans;
use crate::tls::{self, TlsProblem};
use crate::waits::{self, Kind};

/// Address of the server, and the name and authorities to verify it with.
pub(super) struct Server {
    pub(super) settings: DbSettings,
    tls: TlsConnector,
    /// States the protocol. Only for TLS without a request for it: some proxies refuse it otherwise.
    direct_tls: TlsConnector,
    pub(super) shortcuts: Arc<dyn ShortcutStore>,
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

    /// Begins TLS with the verified server, within one time limit.
    pub(super) async fn encrypt(&self, tcp: TcpStream) -> Result<Tls, PgError> {
        let is_direct = self.shortcuts.shortcuts().direct_tls == Some(true);
        let encrypted = self.within(async {
            if !is_direct {
                return self
                    .handshake(&self.tls, self.ask_for_tls(tcp).await?)
                    .await;
            }
            // Otherwise it is a pooler, an older server again, or a proxy that has another certificate for TLS without a
            // request. The second handshake verifies the server as the first does.
            if let Ok(stream) = self.handshake(&self.direct_tls, tcp).await
                && tls_stream::is_postgres(&stream)
            {
                return Ok(stream);
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

    pub(super) async fn dial(&self) -> Result<TcpStream, PgError> {
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

    /// Ends a step when the time of the settings is over.
    pub(super) async fn within<T>(
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

fn addr(settings: &DbSettings) -> String {
    format!("{}:{}", settings.host, settings.port)
}
