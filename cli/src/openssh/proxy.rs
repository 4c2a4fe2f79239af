//! One run of `vctl proxy`: the bytes of one `ssh`, its certificate, and its row of the access log.
//!
//! The row is committed before the certificate is given to `ssh`, which is before any host is shown it.
//! The certificate is signed, and the row written, while `ssh` and the host exchange keys: `ssh` asks its agent
//! after that. What passes is encrypted from then on, so how the command there ended is not known here.

use std::future::{pending, ready};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use futures_util::future::{Either, LocalBoxFuture, select};
use nix::libc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::{mpsc, watch};

use super::agent::{Admitted, Agent};
use super::agent_mux;
use super::disconnect::Told;
use super::key_exchange::Watch;
use super::socket_dir::{Listener, MeetingPlace};
use crate::centre::context::Context;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ssh::{
    AccessLog, End, HostKeys, Input, Issuer, Means, Output, Plan, Port, Row, Signals, SshError,
    Stream, Wanted, plan, reach_port,
};
use crate::ssh_ca::user_certificate::{Credential, Extensions};
use crate::ui::ask::Interaction;
use crate::ui::notice;

/// As much as a pipe of the kernel holds at most by default.
const PIECE: usize = 256 << 10;

/// Whatever `ssh` may be told to do over its connection; what it will, it tells nobody before.
const ALL: Extensions = Extensions {
    pty: true,
    port_forwarding: true,
    agent_forwarding: true,
};

/// Where `ssh` wants to go.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As whom, where that is not what the inventory says.
    pub(crate) user: Option<String>,
}

/// How it ended.
enum Ended {
    /// `ssh` went.
    Client,
    Host,
    /// By a signal's number.
    Signalled(i32),
    /// There is no agent for `ssh`.
    Failed(CliError),
}

/// Carries the bytes of `ssh` until either end goes.
pub(crate) async fn run(
    context: &Context,
    config: &Config,
    request: &Request,
    told: &Told,
) -> Result<(), Stop> {
    let signals = Signals::take()
        .map_err(|error| CliError::new(Exit::Failure, "cannot handle signals").caused_by(&error))?;
    let place = MeetingPlace::of(context.state());
    place.make(context.state())?;
    if !place.is_in_home() && place.config().exists() {
        notice::note(&format!(
            "the socket for `ssh` is `{}`, not in the home, where the installed lines look for it: `vctl ssh-config` prints lines with this path",
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
    // What a host asks of us it asks of `ssh`: no connection of ours is to anything but a jump host.
    let (inbound, _) = mpsc::channel(1);
    let means = Means {
        keys: HostKeys::new(context.vault(), Interaction::Never),
        access: &access,
        issuer: Issuer {
            vault: context.vault(),
            ttl: config.ssh_sign.0,
            extensions: ALL,
        },
        inbound,
        keepalive: config.ssh_keepalive.0,
    };
    let carrying = carry(config, request, &means, &place, &signals, told);
    let done = access.connecting_beside(Box::pin(carrying)).await;
    access.close_rest("ended by a signal to vctl").await;
    access.replay().await;
    done
}

async fn carry(
    config: &Config,
    request: &Request,
    means: &Means<'_>,
    place: &MeetingPlace,
    signals: &Signals,
    told: &Told,
) -> Result<(), Stop> {
    let Reached {
        plan,
        port,
        credential,
    } = tokio::select! {
        reached = reach(config, request, means) => reached?,
        number = signals.end() => return Err(Stop::Child(128 + u8::try_from(number).unwrap_or(0))),
    };
    let (admit, admitted) = watch::channel(None);
    let agent = Agents {
        place,
        admitted,
        used: Arc::default(),
        told,
    };
    let Port {
        stream,
        greeting,
        source,
        admitted: shown,
        _jumps,
    } = port;
    let relay = relay(stream, greeting, &agent, signals);
    let admitting = async {
        let (credential, row) = if let Some(shown) = shown {
            shown
        } else {
            let credential = credential.await?;
            let credentials = std::slice::from_ref(&credential);
            let row = means
                .access
                .open(&[], &plan.target, credentials, source)
                .await?;
            (credential, row)
        };
        admit.send_replace(Some(Arc::new(credential)));
        Ok::<Row, SshError>(row)
    };
    let (ended, row) = match select(pin!(relay), pin!(admitting)).await {
        Either::Left((ended, admitting)) => (ended, admitting.await),
        Either::Right((Ok(row), relay)) => (means.access.during(&row, relay).await, Ok(row)),
        // What `ssh` has of the host ends with us, and before the keys: it can be told why.
        Either::Right((Err(error), _)) => (Ended::Client, Err(error)),
    };
    match row {
        Ok(row) => means.access.close(row, &agent.end(&ended)).await,
        Err(error) => {
            means.access.never_came_about(&plan, &error).await;
            return Err(error.into());
        }
    }
    match ended {
        Ended::Failed(error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// A host that spoke, and a certificate for it that is there or on its way.
struct Reached<'a> {
    plan: Plan,
    port: Port,
    credential: LocalBoxFuture<'a, Result<Credential, CliError>>,
}

async fn reach<'a>(
    config: &Config,
    request: &Request,
    means: &'a Means<'_>,
) -> Result<Reached<'a>, Stop> {
    let wanted = Wanted::Exact(request.host.clone());
    let directory = means.access.directory();
    let mut plan = plan(&directory, config, &wanted, Interaction::Never).await?;
    means.access.looked_up_in(&directory);
    plan.target.addr.set_port(request.port);
    if let Some(user) = &request.user {
        plan.target.user.clone_from(user);
    }
    let target = plan.target.clone();
    // Where only jump hosts lead there, theirs are asked for with it.
    let wants_own = plan.direct;
    let mut signing: LocalBoxFuture<'a, _> = Box::pin(async move {
        if wants_own {
            means.issuer.issue(&target, ALL).await
        } else {
            pending().await
        }
    });
    let reached = match select(pin!(reach_port(&plan, means)), signing.as_mut()).await {
        Either::Left((reached, _)) => reached,
        Either::Right((Ok(credential), reaching)) => {
            let reached = reaching.await;
            signing = Box::pin(ready(Ok(credential)));
            reached
        }
        Either::Right((Err(error), _)) => Err(error.into()),
    };
    match reached {
        Ok(port) => Ok(Reached {
            plan,
            port,
            credential: signing,
        }),
        Err(error) => {
            means.access.never_came_about(&plan, &error).await;
            Err(error.into())
        }
    }
}

/// What makes the agent of this connection, once it is known which it is.
struct Agents<'a> {
    place: &'a MeetingPlace,
    admitted: Admitted,
    used: Arc<AtomicBool>,
    told: &'a Told,
}

impl Agents<'_> {
    /// Begins to answer who shows this signature.
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

    fn end(&self, ended: &Ended) -> End {
        End::closed(match ended {
            Ended::Failed(error) => Some(error.message.clone()),
            Ended::Signalled(number) => Some(format!("ended by signal {number} to vctl")),
            Ended::Client | Ended::Host if self.used.load(Ordering::Relaxed) => None,
            Ended::Client | Ended::Host => Some("`ssh` did not use the certificate".to_owned()),
        })
    }
}

/// Carries bytes both ways, whatever they are; the agent is there before `ssh` could ask for it.
async fn relay(
    stream: Box<dyn Stream>,
    greeting: BytesMut,
    agent: &Agents<'_>,
    signals: &Signals,
) -> Ended {
    let (from_host, to_host) = split(stream);
    tokio::select! {
        () = send(to_host) => Ended::Client,
        ended = receive(from_host, greeting, agent) => ended,
        number = signals.end() => match number {
            // That is how `ssh` tells its proxy that it goes.
            libc::SIGHUP => Ended::Client,
            number => Ended::Signalled(number),
        },
    }
}

/// Returns when `ssh` has no more to say. It never half closes: then it has gone.
async fn send(mut to_host: WriteHalf<Box<dyn Stream>>) {
    let mut input = Input::stdin();
    while let Some(piece) = input.next().await {
        if to_host.write_all(&piece).await.is_err() {
            // What the host said before may still be on its way to `ssh`.
            return pending().await;
        }
    }
    let _ = to_host.shutdown().await;
}

async fn receive(
    mut from_host: ReadHalf<Box<dyn Stream>>,
    greeting: BytesMut,
    agent: &Agents<'_>,
) -> Ended {
    let (mut out, mut watch) = (Output::stdout(), Watch::default());
    let (mut held, mut passed, mut new) = (greeting, 0, 0);
    loop {
        let signature = watch.hear(&held[new..]);
        // The host's last words in the clear wait for the certificate: while they do, `ssh` can be told
        // why there is none.
        if !watch.is_done() || signature.is_some() {
            let whole = held.split_to(watch.whole() - passed).freeze();
            passed = watch.whole();
            if !whole.is_empty() {
                agent.told.in_the_clear();
                if out.write(whole).await.is_err() {
                    return Ended::Client;
                }
            }
        }
        if let Some(signature) = signature {
            if let Err(error) = agent.serve(signature).await {
                return Ended::Failed(agent.place.unusable(&error));
            }
            if agent
                .admitted
                .clone()
                .wait_for(Option::is_some)
                .await
                .is_err()
            {
                return Ended::Client;
            }
        }
        if watch.is_done() {
            agent.told.encrypted();
            if !held.is_empty() && out.write(held.split().freeze()).await.is_err() {
                return Ended::Client;
            }
        }
        new = held.len();
        held.reserve(PIECE);
        match from_host.read_buf(&mut held).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    // What the host left unfinished.
    if !held.is_empty() && out.write(held.freeze()).await.is_err() {
        return Ended::Client;
    }
    match out.finish().await {
        Ok(()) => Ended::Host,
        Err(_) => Ended::Client,
    }
}
