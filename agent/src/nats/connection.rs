//! A connection to NATS: TLS with a verified name, and this machine's key.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use vctl_common::tls::{self, TlsProblem, TlsSetupError, Trust};

use super::key::{self, Key, KeyError};

/// Time limit for TCP, TLS and the login together.
const CONNECT: Duration = Duration::from_secs(10);
/// Time limit for the answer to one request.
pub(crate) const REQUEST: Duration = Duration::from_secs(20);

/// Address of NATS, and this machine's identity there.
#[derive(Clone, Debug)]
pub struct Nats {
    /// `tls://host:port`; several for a cluster.
    pub servers: Vec<String>,
    pub key_file: PathBuf,
    pub trust: Trust,
    /// Name of this client in the server's list of connections.
    pub name: String,
}

/// There is no connection to NATS.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot set up TLS to NATS")]
    Tls(#[from] TlsSetupError),
    #[error("NATS at `{servers}` refuses the key of this machine")]
    Refused { servers: String },
    #[error("NATS at `{servers}` is not trusted: {problem}")]
    Untrusted {
        servers: String,
        problem: TlsProblem,
    },
    #[error("cannot reach NATS at `{servers}`")]
    Unreachable {
        servers: String,
        #[source]
        source: async_nats::ConnectError,
    },
}

impl NatsError {
    /// Returns the next step, if it is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Key(KeyError::Read { .. }) => {
                Some("create the key: vctl-agent nats-key".to_owned())
            }
            Self::Refused { .. } => Some(
                "add the line of `vctl-agent nats-key` to the server's accounts: deploy/nats/README.md".to_owned(),
            ),
            Self::Untrusted { .. } => {
                Some("set `nats_ca_cert` to the CA of the server's certificate".to_owned())
            }
            _ => None,
        }
    }
}

/// A client, and the last error that the server reported on its connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    /// One for the connection: each has a task of its own.
    pub(crate) stream: Context,
    said: Arc<Mutex<Option<String>>>,
}

impl Link {
    /// Takes the last error of the server: it explains a request without an answer.
    pub(crate) fn take_said(&self) -> Option<String> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Connects to one of the servers.
///
/// # Errors
/// The key cannot be used, or no server accepts the connection.
pub async fn connect(nats: &Nats) -> Result<Client, NatsError> {
    Ok(link(nats).await?.client)
}

pub(crate) async fn link(nats: &Nats) -> Result<Link, NatsError> {
    let said = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&said);
    let options = match key::read(&nats.key_file)? {
        Key::Seed(seed) => ConnectOptions::with_nkey(seed.expose().to_owned()),
        Key::Credentials(text) => {
            ConnectOptions::with_credentials(text.expose()).map_err(|_| KeyError::Form {
                path: nats.key_file.clone(),
            })?
        }
    };
    let options = options
        .name(&nats.name)
        .tls_client_config(tls::client_config(&nats.trust)?)
        .require_tls(true)
        .connection_timeout(CONNECT)
        .request_timeout(Some(REQUEST))
        .event_callback(move |event| {
            let heard = Arc::clone(&heard);
            async move {
                if let Event::ServerError(error) = event {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
            }
        });
    let servers = nats.servers.join(",");
    match options.connect(nats.servers.as_slice()).await {
        Ok(client) => {
            let mut stream = jetstream::new(client.clone());
            stream.set_timeout(REQUEST);
            Ok(Link {
                client,
                stream,
                said,
            })
        }
        Err(error) => Err(refusal(servers, error)),
    }
}

fn refusal(servers: String, error: async_nats::ConnectError) -> NatsError {
    if error.kind() == ConnectErrorKind::AuthorizationViolation {
        return NatsError::Refused { servers };
    }
    match TlsProblem::find(&error) {
        Some(problem) => NatsError::Untrusted { servers, problem },
        None => NatsError::Unreachable {
            servers,
            source: error,
        },
    }
}
