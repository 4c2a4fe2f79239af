//! The ways to a host: which are tried, in which order, and which is taken.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select, try_join_all};
use russh::ChannelStream;
use russh::client::Msg;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use vctl_common::vault::Vault;

use super::access::{AccessLog, End, Row};
use super::deadlines;
use super::dial;
use super::error::SshError;
use super::handler::Inbound;
use super::hop::Connection;
use super::host_key::HostKeys;
use crate::error::CliError;
use crate::inventory::Host;
use crate::ssh_ca::user_certificate::{Credential, Extensions, RoleSource, Wish};
use crate::ui::notice;

/// A host to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As which its key is known: the inventory's name, or the address.
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) user: String,
    pub(crate) ca_role: String,
    pub(crate) role_from: RoleSource,
    /// Where in Vault the CA is that signs.
    pub(crate) mount: String,
    /// Seconds by which its clock was ahead when its agent last reported.
    pub(crate) clock_offset_s: Option<i64>,
}

impl Target {
    pub(crate) fn of(host: &Host, mount: &str) -> Self {
        Self {
            name: host.name.clone(),
            addr: SocketAddr::new(host.ip, host.ssh_port),
            user: host.ssh_user.clone(),
            ca_role: host.ca_role.clone(),
            role_from: RoleSource::Inventory(host.name.clone()),
            mount: mount.to_owned(),
            clock_offset_s: host.agent.as_ref().and_then(|agent| agent.clock_offset_s),
        }
    }
}

/// Where to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Outermost first; empty when nothing is in between.
    pub(crate) jumps: Vec<Target>,
    pub(crate) target: Target,
    /// The target is tried without the jump hosts, too.
    pub(crate) direct: bool,
}

impl Plan {
    pub(crate) fn new(jumps: Vec<Target>, target: Target, direct_first: bool) -> Self {
        let direct = direct_first || jumps.is_empty();
        Self {
            jumps,
            target,
            direct,
        }
    }
}

/// What every way needs.
pub(crate) struct Means<'a> {
    pub(crate) keys: HostKeys<'a>,
    pub(crate) access: &'a AccessLog<'a>,
    pub(crate) issuer: Issuer<'a>,
    /// For what the target asks of us.
    pub(crate) inbound: mpsc::Sender<Inbound>,
    /// How long a server may be silent before it is asked for an answer.
    pub(crate) keepalive: Duration,
}

/// Gets certificates.
pub(crate) struct Issuer<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) ttl: Duration,
    /// For the target.
    pub(crate) extensions: Extensions,
}

impl Issuer<'_> {
    pub(crate) async fn issue(
        &self,
        target: &Target,
        extensions: Extensions,
    ) -> Result<Credential, CliError> {
        let wish = Wish {
            mount: &target.mount,
            role: &target.ca_role,
            role_from: &target.role_from,
            user: &target.user,
            ttl: self.ttl,
            extensions,
            host_ahead: target.clock_offset_s,
        };
        notice::waiting(Credential::issue(self.vault, &wish)).await
    }
}

/// A host that was reached, logged in to.
pub(crate) struct Reached {
    pub(crate) connection: Connection,
    /// What the connection goes through: it ends with them.
    pub(crate) _jumps: Vec<Connection>,
    pub(crate) row: Row,
}

/// A host whose key was verified, to be logged in to.
struct Verified {
    connection: Connection,
    jumps: Vec<Connection>,
    credential: Credential,
    row: Row,
}

/// Reaches the target by whichever way is there first, and logs in.
///
/// Each way on which a certificate was about to be shown has its row; where there was none, the
/// attempt has one.
pub(crate) async fn reach(plan: &Plan, means: &Means<'_>) -> Result<Reached, SshError> {
    let along = async |jumps: &[Target]| along(jumps, plan, means).await;
    let reached = Box::pin(race(plan, along)).await;
    match reached {
        Ok(Verified {
            mut connection,
            jumps,
            credential,
            row,
        }) => match connection.log_in(&plan.target.user, &credential).await {
            Ok(()) => Ok(Reached {
                connection,
                _jumps: jumps,
                row,
            }),
            Err(error) => {
                means.access.close(row, &End::of(&error)).await;
                Err(error)
            }
        },
        Err(error) => {
            means.access.never_came_about(plan, &error).await;
            Err(error)
        }
    }
}

/// Returns what is `along` the way that is there first: directly, and after a head start or a failure
/// through the jump hosts.
pub(super) async fn race<T>(
    plan: &Plan,
    along: impl AsyncFn(&[Target]) -> Result<T, SshError>,
) -> Result<T, SshError> {
    if plan.jumps.is_empty() || !plan.direct {
        return Box::pin(along(&plan.jumps)).await;
    }
    let direct_failed = Notify::new();
    let direct = async {
        let reached = Box::pin(along(&[])).await;
        if reached.is_err() {
            direct_failed.notify_one();
        }
        reached
    };
    let chain = async {
        let head_start = timeout(deadlines::HEAD_START, direct_failed.notified());
        // Either way it is the chain's turn.
        let _ = head_start.await;
        Box::pin(along(&plan.jumps)).await
    };
    let (direct, chain) = match select(pin!(direct), pin!(chain)).await {
        Either::Left((Ok(reached), _)) | Either::Right((Ok(reached), _)) => return Ok(reached),
        Either::Left((Err(error), _)) | Either::Right((Err(error), _))
            if error.ends_everything() =>
        {
            return Err(error);
        }
        Either::Left((Err(direct), chain)) => match chain.await {
            Ok(reached) => return Ok(reached),
            Err(chain) => (direct, chain),
        },
        Either::Right((Err(chain), direct)) => match direct.await {
            Ok(reached) => return Ok(reached),
            Err(direct) => (direct, chain),
        },
    };
    if chain.ends_everything() {
        return Err(chain);
    }
    if direct.ends_everything() {
        return Err(direct);
    }
    Err(SshError::BothWays {
        host: plan.target.name.clone(),
        direct: Box::new(direct),
        jump: Box::new(chain),
    })
}

/// Goes one way, up to where the target's certificate is to be shown.
async fn along(jumps: &[Target], plan: &Plan, means: &Means<'_>) -> Result<Verified, SshError> {
    let inbound = jumps.is_empty().then(|| means.inbound.clone());
    let Entered {
        connection,
        credentials,
        row,
        ..
    } = enter(jumps, plan, means, inbound).await?;
    let done = async {
        let first = connection?;
        if jumps.is_empty() {
            return Ok((first, Vec::new()));
        }
        let (stream, passed) = through(first, jumps, &plan.target, means, &credentials).await?;
        let (target, inbound) = (&plan.target, Some(means.inbound.clone()));
        let connection = Connection::shake_hands(stream, target, means, inbound).await?;
        Ok((connection, passed))
    };
    match (done.await, credentials.last()) {
        (Ok((connection, jumps)), Some(credential)) => Ok(Verified {
            connection,
            jumps,
            credential: credential.clone(),
            row,
        }),
        (Ok(_), None) => Err(SshError::no_certificate()),
        (Err(error), _) => {
            means.access.close(row, &End::of(&error)).await;
            Err(error)
        }
    }
}

/// A way whose first host is there or is not: on it certificates may be shown.
pub(super) struct Entered {
    pub(super) connection: Result<Connection, SshError>,
    pub(super) credentials: Vec<Credential>,
    /// Our own end of the connection.
    pub(super) source: Option<SocketAddr>,
    pub(super) row: Row,
}

/// Connects to the first host of a way.
///
/// Certificates are signed and the row is committed meanwhile: neither is needed before somebody is to
/// be logged in to.
pub(super) async fn enter(
    jumps: &[Target],
    plan: &Plan,
    means: &Means<'_>,
    inbound: Option<mpsc::Sender<Inbound>>,
) -> Result<Entered, SshError> {
    let first = jumps.first().unwrap_or(&plan.target);
    let (tell_source, source) = oneshot::channel();
    let network = async {
        let stream = dial::tcp(&first.name, first.addr).await?;
        let _ = tell_source.send(stream.local_addr().ok());
        Connection::shake_hands(stream, first, means, inbound).await
    };
    let centre = async {
        let credentials = issue_all(jumps, plan, means).await?;
        // Sent before anybody asks for it, or never: then this is not waited for.
        let source = source.await.ok().flatten();
        let row = means.access.open(jumps, &plan.target, &credentials, source);
        Ok::<_, SshError>((row.await?, credentials, source))
    };
    let (connection, (row, credentials, source)) = match select(pin!(network), pin!(centre)).await {
        Either::Left((connection, centre)) => (Ok(connection?), centre.await?),
        Either::Right((centre, network)) => {
            let centre = centre?;
            (network.await, centre)
        }
    };
    Ok(Entered {
        connection,
        credentials,
        source,
        row,
    })
}

/// Logs in to each jump host and connects on. Returns the stream from the last of them to the target, and
/// what it goes through.
pub(super) async fn through(
    first: Connection,
    jumps: &[Target],
    target: &Target,
    means: &Means<'_>,
    credentials: &[Credential],
) -> Result<(ChannelStream<Msg>, Vec<Connection>), SshError> {
    let (mut connection, mut passed) = (first, Vec::new());
    for (index, jump) in jumps.iter().enumerate() {
        connection.log_in(&jump.user, &credentials[index]).await?;
        let next = jumps.get(index + 1).unwrap_or(target);
        let stream = connection.connect_on(&next.name, next.addr).await?;
        passed.push(connection);
        if index + 1 == jumps.len() {
            return Ok((stream, passed));
        }
        connection = Connection::shake_hands(stream, next, means, None).await?;
    }
    Err(SshError::no_certificate())
}

/// Returns one certificate for each hop, in order, the target's last; all are asked for at once.
async fn issue_all(
    jumps: &[Target],
    plan: &Plan,
    means: &Means<'_>,
) -> Result<Vec<Credential>, CliError> {
    let hops = jumps
        .iter()
        .map(|jump| (jump, Extensions::JUMP))
        .chain([(&plan.target, means.issuer.extensions)]);
    let issuing = hops.map(|(target, extensions)| means.issuer.issue(target, extensions));
    try_join_all(issuing).await
}
