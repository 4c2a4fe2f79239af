//! One SSH connection to one host: handshake and login.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::Algorithm;
use russh::{Channel, ChannelStream, Preferred, cipher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::connect_context::ConnectContext;
use super::deadlines;
use super::error::{ConnectStep, SshError};
use super::forward::Endpoint;
use super::handler::{Handler, Inbound, KeyQuestion};
use super::route_plan::Target;
use crate::ssh_ca::user_certificate::Credential;

/// Maximum number of messages that wait for the reader of a channel. Above that its window is not replenished.
const CHANNEL_MESSAGES: usize = 32;

/// An SSH connection. Dropping it closes it, with all connections through it.
pub(crate) struct Connection {
    host: String,
    handle: Handle<Handler>,
    /// Never sends a value; its sender is dropped with the connection.
    alive: watch::Receiver<()>,
}

impl Connection {
    /// Makes the handshake over `stream`, and accepts only a server that `context.keys` verify.
    pub(crate) async fn shake_hands<S>(
        stream: S,
        target: &Target,
        context: &ConnectContext<'_>,
        inbound: Option<mpsc::Sender<Inbound>>,
    ) -> Result<Self, SshError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (ask, mut asked) = mpsc::channel(1);
        let (alive_with, alive) = watch::channel(());
        let handler = Handler::new(alive_with, ask, inbound);
        let host = &*target.name;
        let keys = &context.keys;
        let named = keys.files(target).await;
        let config = config(&keys.preferred(host, &named), context.keepalive);
        let config = Arc::new(config);
        let connecting = client::connect_stream(config, stream, handler);
        tokio::pin!(connecting);
        let mut deadline = Instant::now() + deadlines::HANDSHAKE;
        loop {
            tokio::select! {
                connected = &mut connecting => {
                    let handle = connected.map_err(|source| SshError::Failed {
                        step: ConnectStep::Handshake,
                        host: host.to_owned(),
                        source,
                    })?;
                    return Ok(Self { host: host.to_owned(), handle, alive });
                }
                Some(question) = asked.recv() => {
                    let KeyQuestion { shown, accept } = question;
                    keys.verify(host, &named, &shown).await?;
                    // The user may have taken time to answer.
                    deadline = Instant::now() + deadlines::HANDSHAKE;
                    let _ = accept.send(());
                }
                () = sleep_until(deadline) => return Err(SshError::TooSlow {
                    step: ConnectStep::Handshake,
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
        let answer = within(ConnectStep::Authentication, &self.host, answer).await?;
        match answer {
            AuthResult::Success => Ok(()),
            AuthResult::Failure { .. } if self.handle.is_closed() => Err(SshError::Failed {
                step: ConnectStep::Authentication,
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
                    Some(
                        "it accepted the certificate, but requires another authentication too"
                            .to_owned(),
                    )
                } else {
                    credential.fault(user, Timestamp::now())
                },
            }),
        }
    }

    /// Connects to another host through this one.
    pub(crate) async fn connect_on(
        &self,
        host: &str,
        addr: std::net::SocketAddr,
    ) -> Result<ChannelStream<Msg>, SshError> {
        let opened = self.tunnel(&addr.ip().to_string(), addr.port()).await;
        let channel = opened.map_err(|error| self.does_not_connect_on(error, host.to_owned()))?;
        Ok(channel.into_stream())
    }

    /// Opens a channel to an address, to which the host connects.
    pub(crate) async fn open_tcp(&self, to: &Endpoint) -> Result<Channel<Msg>, SshError> {
        let opened = self.tunnel(&to.host, to.port).await;
        opened.map_err(|error| self.does_not_connect_on(error, to.to_string()))
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<Channel<Msg>, SshError> {
        let opening = self
            .handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        within(ConnectStep::Channel, &self.host, opening).await
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
        within(ConnectStep::Channel, &self.host, opening).await
    }

    /// Makes the host listen; returns its port.
    pub(crate) async fn listen(&self, address: &str, port: u16) -> Result<u16, SshError> {
        let asking = self.handle.tcpip_forward(address, u32::from(port));
        let given = within(ConnectStep::Channel, &self.host, asking).await?;
        // The server returns a port only if it chose it.
        Ok(u16::try_from(given)
            .ok()
            .filter(|&given| given != 0)
            .unwrap_or(port))
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Waits until the connection ends, on either side.
    pub(crate) async fn ended(&self) {
        while self.alive.clone().changed().await.is_ok() {}
    }

    /// Returns the error of a lost connection.
    pub(crate) fn lost(&self, source: russh::Error) -> SshError {
        SshError::Lost {
            host: self.host.clone(),
            source,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Sends a disconnect message; its result does not matter.
    pub(crate) async fn close(&self) {
        let reason = russh::Disconnect::ByApplication;
        // A server that hangs does not read it.
        let _ = timeout(deadlines::GOODBYE, self.handle.disconnect(reason, "", "")).await;
    }
}

async fn within<T>(
    step: ConnectStep,
    host: &str,
    work: impl Future<Output = Result<T, russh::Error>>,
) -> Result<T, SshError> {
    let after = match step {
        ConnectStep::Authentication => deadlines::AUTHENTICATION,
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

/// Puts AES-GCM first where the processor computes AES: it takes less time than ChaCha20-Poly1305 there, on both ends.
fn ciphers(defaults: &[cipher::Name], has_aes: bool) -> Vec<cipher::Name> {
    let mut ciphers = defaults.to_vec();
    if has_aes {
        // A stable sort: the others stay in their order.
        ciphers.sort_by_key(|name| *name != cipher::AES_256_GCM);
    }
    ciphers
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

fn config(known: &[Algorithm], keepalive: Duration) -> client::Config {
    let defaults = Preferred::DEFAULT;
    // First the types that can be compared with known keys; certificates are verified by themselves.
    let mut key = known.to_vec();
    // SHA-1 signatures are not accepted.
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
            cipher: Cow::Owned(ciphers(&defaults.cipher, has_aes())),
            host_key_certificates: Cow::Owned(key.clone()),
            key: Cow::Owned(key),
            ..defaults
        },
        channel_buffer_size: CHANNEL_MESSAGES,
        ..client::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_comes_first_only_where_the_processor_computes_it() {
        let defaults = Preferred::DEFAULT.cipher;
        assert_eq!(ciphers(&defaults, false), *defaults);
        let with_aes = ciphers(&defaults, true);
        assert_eq!(with_aes[0], cipher::AES_256_GCM);
        let mut others = defaults.to_vec();
        others.retain(|name| *name != cipher::AES_256_GCM);
        assert_eq!(with_aes[1..], others);
    }
}
