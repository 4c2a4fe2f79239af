//! One run of `vctl proxy`: it relays the bytes of one `ssh`, and holds its certificate and its access-log row.
//!
//! The row is committed before `ssh` gets the certificate, and so before a host can see it. The certificate is signed
//! and the row written while `ssh` and the host exchange keys, because `ssh` asks its agent after that. All later bytes
//! are encrypted, so the exit status of the remote command is not known here.

use std::cell::OnceCell;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use futures_util::future::{Either, select};
use nix::libc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::{mpsc, watch};

use super::agent::{Admitted, Agent};
use super::agent_mux;
use super::disconnect::SshProgress;
use super::key_exchange::KeyExchangeParser;
use super::socket_dir::{Listener, SocketDir};
use crate::centre::context::Context;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ssh::{
    AccessLog, Confirmation, ConnectContext, Destination, End, FirstChannel, HostKeys,
    HostSelector, Input, Issuer, Output, RoutePlan, Row, Signals, Signing, SshError, SshPort,
    Stream, UnknownKeys, ended_by_signal, open_port, plan,
};
use crate::ssh_ca::user_certificate::Extensions;
use crate::ui::ask::Interaction;
use crate::ui::notice;

/// Default capacity of a kernel pipe.
const PIECE: usize = 256 << 10;

/// All extensions: the proxy cannot know what `ssh` will use the connection for.
const ALL: Extensions = Extensions {
    pty: true,
    port_forwarding: true,
    agent_forwarding: true,
};

/// The destination of `ssh`.
#[derive(Clone, Debug)]
pub(crate) struct ProxyRequest {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The user, if it differs from the inventory's.
    pub(crate) user: Option<String>,
}

/// End of the relay.
enum RelayEnd {
    /// `ssh` ended.
    Client,
    Host,
    /// A signal with this number.
    Signalled(i32),
    /// The agent for `ssh` could not be started.
    Failed(CliError),
}

/// Relays the bytes of `ssh` until either end closes.
pub(crate) async fn run(
    context: &Context,
    config: &Config,
    request: &ProxyRequest,
    progress: &SshProgress,
) -> Result<(), Stop> {
    let signals = Signals::take()
        .map_err(|error| CliError::new(Exit::Failure, "cannot handle signals").caused_by(&error))?;
    let place = SocketDir::of(context.state());
    place.make(context.state())?;
    if !place.is_in_home() && place.config().exists() {
        notice::note(&format!(
            "the socket for `ssh` is `{}`, but the installed lines of ssh_config name a socket in the home: `vctl ssh-config` prints lines with the right path",
            place.agent().display()
        ));
    }
    let calling = || {
        let entered = place.enter()?;
        agent_mux::call(&place)?;
        Ok(entered)
    };
    let _entered = calling().map_err(|error| place.unusable(&error))?;
    let access = AccessLog::new(context, Some("vctl proxy".to_owned()))?;
    // Requests of the target go to `ssh`: vctl's own connections only lead to jump hosts.
    let (inbound, _) = mpsc::channel(1);
    let context = ConnectContext {
        keys: HostKeys::new(context.vault(), UnknownKeys::Ask(Interaction::Never)),
        access: &access,
        issuer: Issuer {
            vault: context.vault().clone(),
            ttl: config.ssh_sign.0,
            extensions: ALL,
        },
        target_certificate: OnceCell::new(),
        confirmation: Confirmation::GIVEN,
        first_channel: FirstChannel::None,
        inbound,
        keepalive: config.ssh_keepalive.0,
    };
    let carrying = carry(config, request, &context, &place, &signals, progress);
    let done = access.while_connecting(Box::pin(carrying)).await;
    access.close_rest("the connection was not used").await;
    access.replay().await;
    done
}

async fn carry(
    config: &Config,
    request: &ProxyRequest,
    context: &ConnectContext<'_>,
    place: &SocketDir,
    signals: &Signals,
    progress: &SshProgress,
) -> Result<(), Stop> {
    let planned = OnceCell::new();
    let OpenedPort {
        plan,
        port,
        signing,
    } = tokio::select! {
        reached = reach(config, request, context, &planned) => reached?,
        number = signals.end() => {
            // Vault may have signed a certificate.
            if let Some(plan) = planned.get() {
                let why = ended_by_signal(number);
                tokio::select! {
                    () = context.access.record_stop(plan, &why) => {}
                    _ = signals.end_at_once() => {}
                }
            }
            return Err(Stop::Child(128 + u8::try_from(number).unwrap_or(0)));
        }
    };
    let (admit, admitted) = watch::channel(None);
    let agent = AgentStarter {
        place,
        admitted,
        used: Arc::default(),
        progress,
    };
    let SshPort {
        stream,
        greeting,
        source,
        used_certificate: shown,
        _jumps,
    } = port;
    let relay = relay(stream, greeting, &agent, signals);
    let admitting = async {
        let (credential, row) = match (shown, signing) {
            (Some(shown), _) => shown,
            (None, Some(signing)) => {
                let mut credentials = signing.certificates().await?;
                let opening = context.access.open_signed(&signing, &credentials, source);
                let row = opening.await?;
                let own = credentials.pop().ok_or_else(SshError::no_certificate)?;
                (own, row)
            }
            (None, None) => return Err(SshError::no_certificate()),
        };
        admit.send_replace(Some(Arc::new(credential)));
        Ok::<Row, SshError>(row)
    };
    let (ended, row) = match select(pin!(relay), pin!(admitting)).await {
        Either::Left((ended, admitting)) => (ended, admitting.await),
        Either::Right((Ok(row), relay)) => (context.access.during(&row, relay).await, Ok(row)),
        // `ssh` has no keys yet, so it can be sent the reason.
        Either::Right((Err(error), _)) => (RelayEnd::Client, Err(error)),
    };
    match row {
        Ok(row) => context.access.close(row, &agent.end(&ended)).await,
        Err(error) => {
            context.access.record_failure(plan, &error).await;
            return Err(error.into());
        }
    }
    match ended {
        RelayEnd::Failed(error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// A connected host.
struct OpenedPort<'a> {
    plan: &'a RoutePlan,
    port: SshPort,
    /// The certificate of the direct route, signed or being signed; `None` with jump hosts only.
    signing: Option<Signing>,
}

async fn reach<'a>(
    config: &Config,
    request: &ProxyRequest,
    context: &'a ConnectContext<'_>,
    planned: &'a OnceCell<RoutePlan>,
) -> Result<OpenedPort<'a>, Stop> {
    let wanted = Destination::from(HostSelector::Exact(request.host.clone()));
    let wanted = wanted.or_rather(request.user.as_deref(), Some(request.port));
    let plan = plan(context.access, config, &wanted, Interaction::Never).await?;
    let plan = planned.get_or_init(|| plan);
    // With jump hosts only, the target's certificate is requested together with theirs.
    let signing = plan.direct.then(|| context.sign(&[], plan));
    let signed = async {
        match &signing {
            Some(signing) => signing.certificates().await,
            None => pending().await,
        }
    };
    let reached = match select(pin!(open_port(plan, context)), pin!(signed)).await {
        Either::Left((reached, _)) => reached,
        Either::Right((Ok(_), reaching)) => reaching.await,
        Either::Right((Err(error), _)) => Err(error.into()),
    };
    match reached {
        Ok(port) => Ok(OpenedPort {
            plan,
            port,
            signing,
        }),
        Err(error) => {
            context.access.record_failure(plan, &error).await;
            Err(error.into())
        }
    }
}

/// Starts the agent of this connection once its signature is known.
struct AgentStarter<'a> {
    place: &'a SocketDir,
    admitted: Admitted,
    used: Arc<AtomicBool>,
    progress: &'a SshProgress,
}

impl AgentStarter<'_> {
    /// Starts to answer clients that send this signature.
    async fn serve(&self, signature: Vec<u8>) -> io::Result<()> {
        let listener = Listener::at(&self.place.proxy(&signature))?;
        let agent = Agent {
            signature: signature.into(),
            admitted: self.admitted.clone(),
            used: Arc::clone(&self.used),
        };
        tokio::spawn(agent.serve(listener));
        agent_mux::wait(self.place).await
    }

    fn end(&self, ended: &RelayEnd) -> End {
        End::closed(match ended {
            RelayEnd::Failed(error) => Some(error.one_line()),
            RelayEnd::Signalled(number) => Some(ended_by_signal(*number)),
            RelayEnd::Client | RelayEnd::Host if self.used.load(Ordering::Relaxed) => None,
            RelayEnd::Client | RelayEnd::Host => {
                Some("`ssh` did not use the certificate".to_owned())
            }
        })
    }
}

/// Relays bytes in both directions. The agent is started before `ssh` can need it.
async fn relay(
    stream: Box<dyn Stream>,
    greeting: BytesMut,
    agent: &AgentStarter<'_>,
    signals: &Signals,
) -> RelayEnd {
    let (from_host, to_host) = split(stream);
    tokio::select! {
        () = send(to_host) => RelayEnd::Client,
        ended = receive(from_host, greeting, agent) => ended,
        number = signals.end() => match number {
            // `ssh` ends its proxy with this signal.
            libc::SIGHUP => RelayEnd::Client,
            number => RelayEnd::Signalled(number),
        },
    }
}

/// Returns when `ssh` has closed its side. It closes both directions at once, so it has ended.
async fn send(mut to_host: WriteHalf<Box<dyn Stream>>) {
    let mut input = Input::stdin();
    while let Some(piece) = input.next().await {
        if to_host.write_all(&piece).await.is_err() {
            // Earlier output of the host may still be on its way to `ssh`.
            return pending().await;
        }
    }
    let _ = to_host.shutdown().await;
}

async fn receive(
    mut from_host: ReadHalf<Box<dyn Stream>>,
    greeting: BytesMut,
    agent: &AgentStarter<'_>,
) -> RelayEnd {
    let (mut out, mut watch) = (Output::stdout(), KeyExchangeParser::default());
    let (mut held, mut passed, mut new) = (greeting, 0, 0);
    loop {
        let signature = watch.parse(&held[new..]);
        // The last unencrypted bytes are held back until there is a certificate: until then `ssh` can be
        // sent the reason for a failure.
        if !watch.is_done() || signature.is_some() {
            let whole = held.split_to(watch.whole() - passed).freeze();
            passed = watch.whole();
            if !whole.is_empty() {
                agent.progress.in_the_clear();
                if out.write(whole).await.is_err() {
                    return RelayEnd::Client;
                }
            }
        }
        if let Some(signature) = signature {
            if let Err(error) = agent.serve(signature).await {
                return RelayEnd::Failed(agent.place.unusable(&error));
            }
            if agent
                .admitted
                .clone()
                .wait_for(Option::is_some)
                .await
                .is_err()
            {
                return RelayEnd::Client;
            }
        }
        if watch.is_done() {
            agent.progress.encrypted();
            if !held.is_empty() && out.write(held.split().freeze()).await.is_err() {
                return RelayEnd::Client;
            }
        }
        new = held.len();
        held.reserve(PIECE);
        match from_host.read_buf(&mut held).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    // An incomplete rest from the host.
    if !held.is_empty() && out.write(held.freeze()).await.is_err() {
        return RelayEnd::Client;
    }
    match out.finish().await {
        Ok(()) => RelayEnd::Host,
        Err(_) => RelayEnd::Client,
    }
}
