//! One SSH connection to one host: handshake and login.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use jiff::Timestamp;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::{Channel, ChannelStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::connect_context::ConnectContext;
use super::deadlines;
use super::error::{ConnectStep, SshError};
use super::first_channel::FirstChannel;
use super::forward::Endpoint;
use super::handler::{EndReason, Handler, Inbound, KeyQuestion};
use super::route_plan::Target;
use super::russh_settings::{HostCertificates, config};
use crate::ssh_ca::user_certificate::Credential;

/// A channel that was requested, and the answer.
type RequestedChannel = (FirstChannel, Result<Channel<Msg>, SshError>);

/// An SSH connection. Dropping it closes it, with all connections through it.
pub(crate) struct Connection {
    host: String,
    handle: Handle<Handler>,
    /// Never sends a value; its sender is dropped with the connection.
    alive: watch::Receiver<()>,
    reason: EndReason,
    /// The channel that was requested with the login, until it is used.
    first: Cell<Option<RequestedChannel>>,
}

impl Connection {
    /// Makes the handshake over `stream`, and accepts only a server that `context.keys` verify.
    pub(crate) async fn shake_hands<S>(
        stream: S,
        target: &Target,
        context: &ConnectContext<'_>,
        inbound: Option<mpsc::Sender<Inbound>>,
        certificates: HostCertificates,
    ) -> Result<Self, SshError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (ask, mut asked) = mpsc::channel(1);
        let (alive_with, alive) = watch::channel(());
        let reason = EndReason::default();
        let handler = Handler::new(alive_with, ask, inbound, reason.clone());
        let host = &*target.name;
        let keys = &context.keys;
        let named = keys.files(target).await;
        let preferred = keys.preferred(host, &named);
        let config = config(&preferred, certificates, context.keepalive);
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
                        source: reason.or(source),
                    })?;
                    let first = Cell::default();
                    return Ok(Self { host: host.to_owned(), handle, alive, reason, first });
                }
                Some(question) = asked.recv() => {
                    let KeyQuestion { shown, accept } = question;
                    keys.verify(target, &named, &shown, &context.confirmation).await?;
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

    /// Logs in with a certificate, and requests the first channel behind the login.
    pub(crate) async fn log_in(
        &mut self,
        user: &str,
        credential: &Credential,
        first: &FirstChannel,
    ) -> Result<(), SshError> {
        match self.authenticate(user, credential, first).await? {
            AuthResult::Success => Ok(()),
            AuthResult::Failure { .. } if self.handle.is_closed() => Err(SshError::Failed {
                step: ConnectStep::Authentication,
                host: self.host.clone(),
                source: self.reason.or(russh::Error::Disconnect),
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

    /// Sends the certificate and the request for the first channel in one flight. After a success, waits for both answers.
    async fn authenticate(
        &mut self,
        user: &str,
        credential: &Credential,
        first: &FirstChannel,
    ) -> Result<AuthResult, SshError> {
        let key = Arc::clone(&credential.key);
        let certificate = credential.certificate.clone();
        let opener = self.handle.channel_opener();
        let answer = self
            .handle
            .authenticate_openssh_cert(user, key, certificate);
        let reason = self.reason.clone();
        let answer = within(ConnectStep::Authentication, &self.host, &reason, answer);
        let (answer, mut opening) = (pin!(answer), pin!(first.open(opener)));
        // In this order: the request for the channel is sent behind the certificate.
        let (answer, opened) = match select(answer, opening.as_mut()).await {
            Either::Left((answer, _)) => (answer?, None),
            Either::Right((opened, answer)) => (answer.await?, Some(opened)),
        };
        if !answer.success() {
            return Ok(answer);
        }
        let opened = match opened {
            Some(opened) => opened,
            None => within(ConnectStep::Channel, &self.host, &reason, opening.map(Ok)).await?,
        };
        let failed = |source| failed(ConnectStep::Channel, &self.host, &reason, source);
        let opened = opened.map(|opened| (first.clone(), opened.map_err(failed)));
        self.first.set(opened);
        Ok(answer)
    }

    /// Connects to another host through this one.
    pub(crate) async fn connect_on(
        &self,
        host: &str,
        addr: std::net::SocketAddr,
    ) -> Result<ChannelStream<Msg>, SshError> {
        let opened = self.open(FirstChannel::to(addr)).await;
        let channel = opened.map_err(|error| self.does_not_connect_on(error, host.to_owned()))?;
        Ok(channel.into_stream())
    }

    /// Opens a channel to an address, to which the host connects.
    pub(crate) async fn open_tcp(&self, to: &Endpoint) -> Result<Channel<Msg>, SshError> {
        let opened = self.open(FirstChannel::Tcp(to.clone())).await;
        opened.map_err(|error| self.does_not_connect_on(error, to.to_string()))
    }

    /// Returns the channel that was requested with the login, or requests one now.
    async fn open(&self, wanted: FirstChannel) -> Result<Channel<Msg>, SshError> {
        match self.first.take() {
            Some((first, opened)) if first == wanted => return opened,
            other => self.first.set(other),
        }
        let opening = wanted.open(self.handle.channel_opener());
        let opening = opening.map(|opened| opened.unwrap_or(Err(russh::Error::Inconsistent)));
        within(ConnectStep::Channel, &self.host, &self.reason, opening).await
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
        self.open(FirstChannel::Session).await
    }

    /// Makes the host listen; returns its port.
    pub(crate) async fn listen(&self, address: &str, port: u16) -> Result<u16, SshError> {
        let asking = self.handle.tcpip_forward(address, u32::from(port));
        let given = within(ConnectStep::Channel, &self.host, &self.reason, asking).await?;
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
            source: self.reason.or(source),
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
    reason: &EndReason,
    work: impl Future<Output = Result<T, russh::Error>>,
) -> Result<T, SshError> {
    let after = match step {
        ConnectStep::Authentication => deadlines::AUTHENTICATION,
        _ => deadlines::CHANNEL,
    };
    match timeout(after, work).await {
        Ok(done) => done.map_err(|source| failed(step, host, reason, source)),
        Err(_) => Err(SshError::TooSlow {
            step,
            host: host.to_owned(),
            after,
        }),
    }
}

fn failed(step: ConnectStep, host: &str, reason: &EndReason, source: russh::Error) -> SshError {
    SshError::Failed {
        step,
        host: host.to_owned(),
        source: reason.or(source),
    }
}
