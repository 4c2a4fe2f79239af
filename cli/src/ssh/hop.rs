//! One SSH connection to one host: handshake, then login.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::Algorithm;
use russh::{Channel, ChannelStream, Preferred};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::{Means, Target};
use super::deadlines;
use super::error::{SshError, Step};
use super::forward::Endpoint;
use super::handler::{Handler, Inbound, Question};
use crate::ssh_ca::user_certificate::Credential;

/// The most messages that wait for the reader of a channel. Above that its window is not replenished.
const CHANNEL_MESSAGES: usize = 32;

/// One connection. Dropping it ends it, and all that goes through it.
pub(crate) struct Connection {
    host: String,
    handle: Handle<Handler>,
    /// Never changes: its other end is gone when the connection is.
    alive: watch::Receiver<()>,
}

impl Connection {
    /// Does the handshake over `stream`, and believes the server only as `means.keys` say.
    pub(crate) async fn shake_hands<S>(
        stream: S,
        target: &Target,
        means: &Means<'_>,
        inbound: Option<mpsc::Sender<Inbound>>,
    ) -> Result<Self, SshError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (ask, mut asked) = mpsc::channel(1);
        let (alive_with, alive) = watch::channel(());
        let handler = Handler::new(alive_with, ask, inbound);
        let host = &*target.name;
        let keys = &means.keys;
        let named = keys.files(target).await;
        let config = config(&keys.preferred(host, &named), means.keepalive);
        let config = Arc::new(config);
        let connecting = client::connect_stream(config, stream, handler);
        tokio::pin!(connecting);
        let mut deadline = Instant::now() + deadlines::HANDSHAKE;
        loop {
            tokio::select! {
                connected = &mut connecting => {
                    let handle = connected.map_err(|source| SshError::Failed {
                        step: Step::Handshake,
                        host: host.to_owned(),
                        source,
                    })?;
                    return Ok(Self { host: host.to_owned(), handle, alive });
                }
                Some(question) = asked.recv() => {
                    let Question { shown, believe } = question;
                    keys.verify(host, &named, &shown).await?;
                    // A person may have thought about it.
                    deadline = Instant::now() + deadlines::HANDSHAKE;
                    let _ = believe.send(());
                }
                () = sleep_until(deadline) => return Err(SshError::TooSlow {
                    step: Step::Handshake,
                    host: host.to_owned(),
                    after: deadlines::HANDSHAKE,
                }),
            }
        }
    }

    /// Logs in with a certificate.
    pub(crate) async fn log_in(
        &mut self,
        user: &str,
        credential: &Credential,
    ) -> Result<(), SshError> {
        let key = Arc::clone(&credential.key);
        let certificate = credential.certificate.clone();
        let answer = self
            .handle
            .authenticate_openssh_cert(user, key, certificate);
        let answer = within(Step::Authentication, &self.host, answer).await?;
        match answer {
            AuthResult::Success => Ok(()),
            AuthResult::Failure { .. } if self.handle.is_closed() => Err(SshError::Failed {
                step: Step::Authentication,
                host: self.host.clone(),
                source: russh::Error::Disconnect,
            }),
            AuthResult::Failure {
                partial_success, ..
            } => Err(SshError::Refused {
                host: self.host.clone(),
                user: user.to_owned(),
                limits: credential.validity.limits(&self.host, Timestamp::now()),
                why: if partial_success {
                    Some("it took the certificate, and asks for something more".to_owned())
                } else {
                    credential.fault(user, Timestamp::now())
                },
            }),
        }
    }

    /// Connects on to another host.
    pub(crate) async fn connect_on(
        &self,
        host: &str,
        addr: std::net::SocketAddr,
    ) -> Result<ChannelStream<Msg>, SshError> {
        let opened = self.tunnel(&addr.ip().to_string(), addr.port()).await;
        let channel = opened.map_err(|error| self.does_not_connect_on(error, host.to_owned()))?;
        Ok(channel.into_stream())
    }

    /// Opens a channel to an address that the host connects to.
    pub(crate) async fn open_tcp(&self, to: &Endpoint) -> Result<Channel<Msg>, SshError> {
        let opened = self.tunnel(&to.host, to.port).await;
        opened.map_err(|error| self.does_not_connect_on(error, to.to_string()))
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<Channel<Msg>, SshError> {
        let opening = self
            .handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        within(Step::Channel, &self.host, opening).await
    }

    fn does_not_connect_on(&self, error: SshError, to: String) -> SshError {
        match error {
            SshError::Failed { source, .. } => SshError::JumpRefused {
                jump: self.host.clone(),
                host: to,
                source: Box::new(source),
            },
            other => other,
        }
    }

    pub(crate) async fn open_session(&self) -> Result<Channel<Msg>, SshError> {
        let opening = self.handle.channel_open_session();
        within(Step::Channel, &self.host, opening).await
    }

    /// Asks the host to listen; returns the port it listens at.
    pub(crate) async fn listen(&self, address: &str, port: u16) -> Result<u16, SshError> {
        let asking = self.handle.tcpip_forward(address, u32::from(port));
        let given = within(Step::Channel, &self.host, asking).await?;
        // A port that was asked for is not told again.
        Ok(u16::try_from(given)
            .ok()
            .filter(|&given| given != 0)
            .unwrap_or(port))
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Waits until the connection has ended, from whichever side.
    pub(crate) async fn ended(&self) {
        while self.alive.clone().changed().await.is_ok() {}
    }

    /// The connection broke off.
    pub(crate) fn lost(&self, source: russh::Error) -> SshError {
        SshError::Lost {
            host: self.host.clone(),
            source,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Says goodbye; what the server does with it is its matter.
    pub(crate) async fn close(&self) {
        let reason = russh::Disconnect::ByApplication;
        // One that hangs does not take it.
        let _ = timeout(deadlines::GOODBYE, self.handle.disconnect(reason, "", "")).await;
    }
}

async fn within<T>(
    step: Step,
    host: &str,
    work: impl Future<Output = Result<T, russh::Error>>,
) -> Result<T, SshError> {
    let after = match step {
        Step::Authentication => deadlines::AUTHENTICATION,
        _ => deadlines::CHANNEL,
    };
    let host = || host.to_owned();
    match timeout(after, work).await {
        Ok(done) => done.map_err(|source| SshError::Failed {
            step,
            host: host(),
            source,
        }),
        Err(_) => Err(SshError::TooSlow {
            step,
            host: host(),
            after,
        }),
    }
}

fn config(known: &[Algorithm], keepalive: Duration) -> client::Config {
    let defaults = Preferred::DEFAULT;
    // First the kinds that can be compared with what is known; certificates are judged by themselves.
    let mut key = known.to_vec();
    // SHA-1 is no signature.
    let sha1 = Algorithm::Rsa { hash: None };
    let others = defaults.key.iter().filter(|kind| **kind != sha1);
    for kind in others {
        if !key.contains(kind) {
            key.push(kind.clone());
        }
    }
    client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(concat!(
            "SSH-2.0-vctl_",
            env!("CARGO_PKG_VERSION")
        ))),
        keepalive_interval: Some(keepalive),
        keepalive_max: deadlines::KEEPALIVES,
        preferred: Preferred {
            host_key_certificates: Cow::Owned(key.clone()),
            key: Cow::Owned(key),
            ..defaults
        },
        channel_buffer_size: CHANNEL_MESSAGES,
        ..client::Config::default()
    }
}
