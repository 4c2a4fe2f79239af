//! One run of `vctl ssh`, from the arguments to the exit status.

use tokio::sync::mpsc;

use super::access::{AccessLog, End};
use super::certificate::Extensions;
use super::error::SshError;
use super::hop::Inbound;
use super::host_key::HostKeys;
use super::session::{self, Outcome, PtyWish, Signals, Work};
use super::target::{self, Wanted};
use super::way::{self, Issuer, Means, Plan, Reached};
use crate::config::Config;
use crate::context::Context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::login::Interaction;
use crate::render::notice;

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) wanted: Wanted,
    pub(crate) pty: PtyWish,
    /// As the host's shell gets it.
    pub(crate) command: Option<Vec<u8>>,
    pub(crate) agent_forwarding: bool,
    pub(crate) interaction: Interaction,
    pub(crate) quiet: bool,
}

/// Connects, does what was asked for, and ends as the remote command did.
pub(crate) async fn run(context: &Context, config: &Config, request: &Request) -> Result<(), Stop> {
    let signals = Signals::take()
        .map_err(|error| CliError::new(Exit::Failure, "cannot handle signals").caused_by(&error))?;
    let access = AccessLog::new(context, request.command.as_deref().map(program_of))?;
    let done = tokio::select! {
        done = connect_and_work(context, config, request, &access, &signals) => done,
        number = signals.end() => Err(Stop::Child(128 + u8::try_from(number).unwrap_or(0))),
    };
    access.close_rest("ended by a signal, or for a quicker way").await;
    access.replay().await;
    done
}

async fn connect_and_work(
    context: &Context,
    config: &Config,
    request: &Request,
    access: &AccessLog<'_>,
    signals: &Signals,
) -> Result<(), Stop> {
    // The connection to the access log is made while the host is looked up.
    let planning = target::plan(context, config, &request.wanted);
    let (plan, ()) = futures_util::future::join(planning, access.warm_up()).await;
    let plan = plan?;
    if !request.quiet {
        say_where(&plan);
    }
    let pty = request.pty.decide(request.command.is_some());
    let (inbound, _from_host) = mpsc::unbounded_channel::<Inbound>();
    let means = Means {
        keys: HostKeys::new(context.vault(), request.interaction),
        access,
        issuer: Issuer {
            vault: context.vault(),
            ttl: config.ssh_sign.0,
            extensions: Extensions {
                pty,
                port_forwarding: false,
                agent_forwarding: request.agent_forwarding,
            },
        },
        inbound,
    };
    let Reached {
        connection,
        jumps,
        row,
    } = way::reach(&plan, &means).await?;
    let work = Work {
        command: request.command.clone(),
        pty,
        agent_forwarding: request.agent_forwarding,
    };
    let outcome = session::run(&connection, &work, signals).await;
    access.close(row, &end_of(&outcome)).await;
    connection.close().await;
    drop(jumps);
    finish(outcome)
}

fn end_of(outcome: &Result<Outcome, SshError>) -> End {
    match outcome {
        Ok(Outcome::Exited(code)) => End::exited(*code),
        Ok(Outcome::Silent | Outcome::Closed | Outcome::ReaderGone) => End::closed(None),
        Ok(Outcome::Signalled(number)) => {
            End::closed(Some(format!("ended by signal {number} to vctl")))
        }
        Err(error) => End::closed(Some(error.to_string())),
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

/// The first word: the rest may be a secret.
fn program_of(command: &[u8]) -> String {
    let command = String::from_utf8_lossy(command);
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default().to_owned();
    if words.next().is_some() {
        program + " …"
    } else {
        program
    }
}

fn say_where(plan: &Plan) {
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
