//! One run of `vctl ssh`, from the arguments to the exit status.

use std::cell::{OnceCell, RefCell};

use tokio::sync::{SetOnce, mpsc};
use vctl_common::causes::WithCauses;

use super::access::AccessLog;
use super::access_end::End;
use super::cached_plan::cached_plan;
use super::confirmation::Confirmation;
use super::connect;
use super::connect::LoggedInHost;
use super::connect_context::{ConnectContext, Issuer};
use super::destination::Destination;
use super::early_connection;
use super::error::SshError;
use super::first_channel::FirstChannel;
use super::forward::{Endpoint, Forwarding, Forwards};
use super::gate;
use super::gate::{NoPlan, PermittedHost};
use super::handler::Inbound;
use super::host_key::{HostKeys, UnknownKeys};
use super::route_plan::RoutePlan;
use super::session::{self, Outcome, PtyWish, Signals, Work, WriteError};
use crate::centre::context::Context;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ssh_ca::user_certificate::Extensions;
use crate::ui::ask::Interaction;
use crate::ui::notice;

/// Capacity of the queue of channels that the host opened.
pub(super) const INBOUND: usize = 64;

/// The options of one run.
#[derive(Clone, Debug)]
pub(crate) struct SshRequest {
    pub(crate) destination: Destination,
    pub(crate) what: ConnectionUse,
    pub(crate) forwards: Forwards,
    pub(crate) interaction: Interaction,
    pub(crate) quiet: bool,
    /// Mount of the CA that signs, instead of the active one.
    pub(crate) mount: Option<String>,
    pub(crate) unknown_keys: UnknownKeys,
}

impl SshRequest {
    fn choose_mount(&self, plan: &mut RoutePlan) {
        if let Some(mount) = &self.mount {
            plan.target.mount.clone_from(mount);
        }
    }
}

/// Use of the connection, in addition to forwarded ports.
#[derive(Clone, Debug)]
pub(crate) enum ConnectionUse {
    /// A shell, or a command for the host's shell.
    Session {
        pty: PtyWish,
        command: Option<Vec<u8>>,
    },
    /// `-N`: only forwarded ports.
    Ports,
    /// `-W`: standard input and output are forwarded to an address.
    Stdio(Endpoint),
}

impl ConnectionUse {
    fn pty(&self) -> bool {
        match self {
            Self::Session { pty, command } => pty.decide(command.is_some()),
            Self::Ports | Self::Stdio(_) => false,
        }
    }

    fn first_channel(&self) -> FirstChannel {
        match self {
            Self::Session { .. } => FirstChannel::Session,
            Self::Ports => FirstChannel::None,
            Self::Stdio(to) => FirstChannel::Tcp(to.clone()),
        }
    }

    /// Returns the command for the access log: only the program, because arguments may contain secrets. The host records
    /// the full command.
    fn shown(&self) -> Option<String> {
        match self {
            Self::Session { command, .. } => command.as_deref().map(program_of),
            Self::Ports => None,
            Self::Stdio(to) => Some(format!("-W {to}")),
        }
    }
}

/// Connects, runs the request, and exits with the status of the remote command.
pub(crate) async fn run(
    context: &Context,
    config: &Config,
    request: &SshRequest,
) -> Result<(), Stop> {
    let signals = Signals::take()
        .map_err(|error| CliError::new(Exit::Failure, "cannot handle signals").caused_by(&error))?;
    let forwarding = Forwarding::bind(&request.forwards).await?;
    let access = AccessLog::new(context, request.what.shown())?;
    let (inbound, from_host) = mpsc::channel(INBOUND);
    // The plan of the last attempt, for its record.
    let planned = RefCell::new(None);
    let connecting = async {
        let log_in = async |plan: &RoutePlan, confirmation: Confirmation<'_>| {
            planned.replace(Some(plan.clone()));
            let attempt = Attempt {
                plan,
                confirmation,
                inbound: inbound.clone(),
            };
            log_in(context, config, request, &access, attempt).await
        };
        let lookup = find(config, request, &access);
        match cached(context, config, request) {
            Some(plan) => {
                let confirmed = SetOnce::new();
                early_connection::connect(context, &access, &plan, lookup, &confirmed, log_in).await
            }
            None => match lookup.await {
                Ok(found) => log_in(&found.plan, Confirmation::GIVEN).await,
                Err(none) => Err(none.record(&access).await),
            },
        }
    };
    let connecting = access.while_connecting(connecting);
    let done = tokio::select! {
        reached = connecting => match reached {
            Ok(reached) => {
                let outcome = work(&reached, request, forwarding, from_host, &signals);
                let outcome = access.during(&reached.row, outcome).await;
                access.close(reached.row, &end_of(&outcome)).await;
                reached.connection.close().await;
                finish(outcome)
            }
            Err(error) => Err(error),
        },
        number = signals.end() => {
            let stop = Err(Stop::Child(128 + u8::try_from(number).unwrap_or(0)));
            // Vault may have signed a certificate.
            if let Some(plan) = planned.take() {
                let why = ended_by_signal(number);
                tokio::select! {
                    () = access.record_stop(&plan, &why) => {}
                    _ = signals.end_at_once() => return stop,
                }
            }
            stop
        }
    };
    let rest = async {
        access.close_rest("the connection was not used").await;
        access.replay().await;
    };
    // A transaction may be dropped: each access has its own id, and is sent again.
    tokio::select! {
        () = rest => {}
        _ = signals.end_at_once() => {}
    }
    done
}

/// Finds the host and the routes to it, if the user has a grant for it.
pub(super) async fn find(
    config: &Config,
    request: &SshRequest,
    access: &AccessLog<'_>,
) -> Result<PermittedHost, NoPlan> {
    let (destination, interaction) = (&request.destination, request.interaction);
    let mut found = gate::find(access, config, destination, interaction).await?;
    request.choose_mount(&mut found.plan);
    if !request.quiet {
        print_destination(&found.plan);
    }
    Ok(found)
}

/// Returns the plan from what is cached on this machine.
fn cached(context: &Context, config: &Config, request: &SshRequest) -> Option<RoutePlan> {
    let mut plan = cached_plan(context, config, &request.destination, request.interaction)?;
    request.choose_mount(&mut plan);
    Some(plan)
}

/// One attempt to connect: the plan, whether the lookup has confirmed it, and where messages of the host go.
pub(super) struct Attempt<'a> {
    pub(super) plan: &'a RoutePlan,
    pub(super) confirmation: Confirmation<'a>,
    pub(super) inbound: mpsc::Sender<Inbound>,
}

/// Connects to the host of a plan, and logs in with a certificate for this request.
pub(super) async fn log_in(
    context: &Context,
    config: &Config,
    request: &SshRequest,
    access: &AccessLog<'_>,
    attempt: Attempt<'_>,
) -> Result<LoggedInHost, Stop> {
    let forwards = &request.forwards;
    let stdio = matches!(request.what, ConnectionUse::Stdio(_));
    let connect_context = ConnectContext {
        keys: HostKeys::new(context.vault(), request.unknown_keys.clone()),
        access,
        issuer: Issuer {
            vault: context.vault().clone(),
            ttl: config.ssh_sign.0,
            extensions: Extensions {
                pty: request.what.pty(),
                port_forwarding: forwards.has_ports() || stdio,
                agent_forwarding: forwards.agent,
            },
        },
        target_certificate: OnceCell::new(),
        confirmation: attempt.confirmation,
        first_channel: request.what.first_channel(),
        inbound: attempt.inbound,
        keepalive: config.ssh_keepalive.0,
    };
    Ok(Box::pin(connect::log_in(attempt.plan, &connect_context)).await?)
}

/// Runs the request, and serves the forwarded ports meanwhile.
async fn work(
    reached: &LoggedInHost,
    request: &SshRequest,
    mut forwarding: Forwarding,
    inbound: mpsc::Receiver<Inbound>,
    signals: &Signals,
) -> Result<Outcome, SshError> {
    let connection = &reached.connection;
    tokio::select! {
        listening = forwarding.listen_there(connection) => listening?,
        number = signals.end() => return Ok(Outcome::Signalled(number)),
    }
    let until_ended = async {
        tokio::select! {
            () = connection.ended() => Err(connection.lost(russh::Error::Disconnect)),
            number = signals.end() => Ok(Outcome::Signalled(number)),
        }
    };
    let work = async {
        match &request.what {
            ConnectionUse::Session { command, .. } => {
                let work = Work {
                    command: command.clone(),
                    pty: request.what.pty(),
                    agent_forwarding: request.forwards.agent,
                };
                session::run(connection, &work, signals).await
            }
            ConnectionUse::Ports => until_ended.await,
            ConnectionUse::Stdio(to) => {
                let channel = connection.open_tcp(to).await?;
                tokio::select! {
                    done = session::relay(channel) => match done {
                        Ok(()) => Ok(Outcome::Exited(0)),
                        Err(WriteError::ReaderGone) => Ok(Outcome::ReaderGone),
                        Err(WriteError::Failed(source)) => Err(SshError::Output { source }),
                    },
                    ended = until_ended => ended,
                }
            }
        }
    };
    tokio::select! {
        outcome = work => outcome,
        never = forwarding.serve(connection, inbound) => match never {},
    }
}

/// Returns the reason in the access log for an end by a signal.
pub(crate) fn ended_by_signal(number: i32) -> String {
    format!("ended by signal {number} to vctl")
}

fn end_of(outcome: &Result<Outcome, SshError>) -> End {
    match outcome {
        Ok(Outcome::Exited(code)) => End::exited(*code),
        Ok(Outcome::Silent | Outcome::Closed | Outcome::ReaderGone) => End::closed(None),
        Ok(Outcome::Signalled(number)) => End::closed(Some(ended_by_signal(*number))),
        Err(error) => End::closed(Some(WithCauses(error).to_string())),
    }
}

fn finish(outcome: Result<Outcome, SshError>) -> Result<(), Stop> {
    match outcome? {
        Outcome::Exited(0) => Ok(()),
        Outcome::Exited(code) => Err(Stop::Child(code)),
        Outcome::ReaderGone => Err(Stop::ReaderGone),
        Outcome::Signalled(number) => Err(Stop::Child(128 + u8::try_from(number).unwrap_or(0))),
        Outcome::Silent | Outcome::Closed => Err(Stop::Child(u8::MAX)),
    }
}

/// Returns the first word. The other words may be secrets, and so may a variable assignment before the command.
fn program_of(command: &[u8]) -> String {
    let command = String::from_utf8_lossy(command);
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    match words.next() {
        _ if program.contains('=') => "\u{2026}".to_owned(),
        Some(_) => format!("{program} \u{2026}"),
        None => program.to_owned(),
    }
}

fn print_destination(plan: &RoutePlan) {
    let target = &plan.target;
    let jumps: Vec<&str> = plan.jumps.iter().map(|jump| &*jump.name).collect();
    let through = if jumps.is_empty() || plan.direct {
        String::new()
    } else {
        format!(" through {}", jumps.join(", "))
    };
    notice::done(&format!(
        "connecting to {} ({}@{}){through}",
        target.name, target.user, target.addr
    ));
}

#[cfg(test)]
mod tests {
    use super::program_of;

    #[test]
    fn access_log_has_only_the_program_of_a_command() {
        assert_eq!(program_of(b"uptime"), "uptime");
        assert_eq!(program_of(b"  mysql -psecret "), "mysql \u{2026}");
        assert_eq!(program_of(b""), "");
        assert_eq!(program_of(b"PGPASSWORD=secret psql"), "\u{2026}");
        assert_eq!(program_of(b"\xff\xfe x"), "\u{fffd}\u{fffd} \u{2026}");
    }
}
