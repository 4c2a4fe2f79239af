//! The routes to a host: direct and through jump hosts, in parallel.

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
    /// Name under which its host key is stored: the inventory's name, or the address.
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) user: String,
    pub(crate) ca_role: String,
    pub(crate) role_from: RoleSource,
    /// Mount of the CA that signs.
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

/// The target and the routes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Outermost first; empty without jump hosts.
    pub(crate) jumps: Vec<Target>,
    pub(crate) target: Target,
    /// Whether the target is also tried without the jump hosts.
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

/// What every route needs to connect.
pub(crate) struct Means<'a> {
    pub(crate) keys: HostKeys<'a>,
    pub(crate) access: &'a AccessLog<'a>,
    pub(crate) issuer: Issuer<'a>,
    /// Receives the channels that the target opens.
    pub(crate) inbound: mpsc::Sender<Inbound>,
}

/// Requests certificates from Vault.
pub(crate) struct Issuer<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) ttl: Duration,
    /// Extensions for the target's certificate.
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

/// A host with a successful login.
pub(crate) struct Reached {
    pub(crate) connection: Connection,
    /// The connections to the jump hosts, which must stay open.
    pub(crate) _jumps: Vec<Connection>,
    pub(crate) row: Row,
}

/// A host whose key was verified, before the login.
struct Verified {
    connection: Connection,
    jumps: Vec<Connection>,
    credential: Credential,
    row: Row,
}

/// Connects to the target by the route that is ready first, and logs in.
///
/// Each route that gets as far as a certificate has an access-log row. If none does, one row records the attempt.
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

/// Returns the result of the route that is ready first: the direct one, or the one through the jump hosts, which starts
/// after a delay or when the direct one fails.
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
        // Whether notified or timed out, the jump hosts are tried now.
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

/// Connects by one route, up to the login at the target.
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
        let (name, inbound) = (&plan.target.name, Some(means.inbound.clone()));
        let connection = Connection::shake_hands(stream, name, &means.keys, inbound).await?;
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

/// A route with its row, and the connection to its first host if that succeeded.
pub(super) struct Entered {
    pub(super) connection: Result<Connection, SshError>,
    pub(super) credentials: Vec<Credential>,
    /// Local address of the connection.
    pub(super) source: Option<SocketAddr>,
    pub(super) row: Row,
}

/// Connects to the first host of a route.
///
/// Meanwhile the certificates are signed and the row is committed: neither is needed before the first login.
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
        Connection::shake_hands(stream, &first.name, &means.keys, inbound).await
    };
    let centre = async {
        let credentials = issue_all(jumps, plan, means).await?;
        // Sent before the server is verified, or never: then this does not wait.
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

/// Logs in to each jump host and connects to the next host. Returns the stream to the target, and the connections that
/// it uses.
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
        connection = Connection::shake_hands(stream, &next.name, &means.keys, None).await?;
    }
    Err(SshError::no_certificate())
}

/// Returns one certificate for each hop in order, the target's last; they are requested in parallel.
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
