//! The ways to a host: which are tried, in which order, and which is taken.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select, try_join_all};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;
use vctl_common::vault::Vault;

use super::access::{AccessLog, End, Row};
use super::certificate::{Credential, Extensions, Wish};
use super::deadlines;
use super::dial;
use super::error::SshError;
use super::handler::Inbound;
use super::hop::Connection;
use super::host_key::HostKeys;
use crate::error::CliError;
use crate::inventory::Host;

/// A host to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As which its key is known: the inventory's name, or the address.
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) user: String,
    pub(crate) ca_role: String,
}

impl From<&Host> for Target {
    fn from(host: &Host) -> Self {
        Self {
            name: host.name.clone(),
            addr: SocketAddr::new(host.ip, host.ssh_port),
            user: host.ssh_user.clone(),
            ca_role: host.ca_role.clone(),
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
    /// Where in Vault the CA is that signs.
    pub(crate) mount: String,
}

impl Plan {
    pub(crate) fn new(
        jumps: Vec<Target>,
        target: Target,
        direct_first: bool,
        mount: String,
    ) -> Self {
        let direct = direct_first || jumps.is_empty();
        Self {
            jumps,
            target,
            direct,
            mount,
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
}

/// Gets certificates.
pub(crate) struct Issuer<'a> {
    pub(crate) vault: &'a Vault,
    pub(crate) mount: String,
    pub(crate) ttl: Duration,
    /// For the target.
    pub(crate) extensions: Extensions,
}

impl Issuer<'_> {
    async fn issue(&self, target: &Target, extensions: Extensions) -> Result<Credential, CliError> {
        let wish = Wish {
            mount: &self.mount,
            role: &target.ca_role,
            user: &target.user,
            ttl: self.ttl,
            extensions,
        };
        Credential::issue(self.vault, &wish).await
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
    let reached = Box::pin(race(plan, means)).await;
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

async fn race(plan: &Plan, means: &Means<'_>) -> Result<Verified, SshError> {
    if plan.jumps.is_empty() || !plan.direct {
        return Box::pin(along(&plan.jumps, plan, means)).await;
    }
    let direct_failed = Notify::new();
    let direct = async {
        let verified = Box::pin(along(&[], plan, means)).await;
        if verified.is_err() {
            direct_failed.notify_one();
        }
        verified
    };
    let chain = async {
        let head_start = timeout(deadlines::HEAD_START, direct_failed.notified());
        // Either way it is the chain's turn.
        let _ = head_start.await;
        Box::pin(along(&plan.jumps, plan, means)).await
    };
    let (direct, chain) = match select(pin!(direct), pin!(chain)).await {
        Either::Left((Ok(verified), _)) | Either::Right((Ok(verified), _)) => return Ok(verified),
        Either::Left((Err(error), _)) | Either::Right((Err(error), _))
            if error.ends_everything() =>
        {
            return Err(error);
        }
        Either::Left((Err(direct), chain)) => match chain.await {
            Ok(verified) => return Ok(verified),
            Err(chain) => (direct, chain),
        },
        Either::Right((Err(chain), direct)) => match direct.await {
            Ok(verified) => return Ok(verified),
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
///
/// Certificates are signed and the row is committed while the first connection is made: neither is
/// needed before somebody is to be logged in to.
async fn along(jumps: &[Target], plan: &Plan, means: &Means<'_>) -> Result<Verified, SshError> {
    let first = jumps.first().unwrap_or(&plan.target);
    let inbound = jumps.is_empty().then(|| means.inbound.clone());
    let (tell_source, source) = oneshot::channel();
    let network = async {
        let stream = dial::tcp(&first.name, first.addr).await?;
        let _ = tell_source.send(stream.local_addr().ok());
        Connection::shake_hands(stream, &first.name, &means.keys, inbound).await
    };
    let centre = async {
        let credentials = issue_all(jumps, plan, means).await?;
        // Sent before anybody asks for it, or never: then this is not waited for.
        let source = source.await.ok().flatten();
        let row = means.access.open(jumps, &plan.target, &credentials, source);
        Ok::<_, SshError>((row.await?, credentials))
    };
    let (connection, (row, credentials)) = match select(pin!(network), pin!(centre)).await {
        Either::Left((connection, centre)) => (Ok(connection?), centre.await?),
        Either::Right((centre, network)) => {
            let centre = centre?;
            (network.await, centre)
        }
    };
    let done = async { onwards(connection?, jumps, plan, means, &credentials).await };
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

/// Logs in to each jump host and goes on from there. Returns the target's connection, and what it goes
/// through.
async fn onwards(
    first: Connection,
    jumps: &[Target],
    plan: &Plan,
    means: &Means<'_>,
    credentials: &[Credential],
) -> Result<(Connection, Vec<Connection>), SshError> {
    let (mut connection, mut passed) = (first, Vec::new());
    for (index, jump) in jumps.iter().enumerate() {
        connection.log_in(&jump.user, &credentials[index]).await?;
        let next = jumps.get(index + 1).unwrap_or(&plan.target);
        let inbound = (index + 1 == jumps.len()).then(|| means.inbound.clone());
        let stream = connection.connect_on(&next.name, next.addr).await?;
        passed.push(connection);
        connection = Connection::shake_hands(stream, &next.name, &means.keys, inbound).await?;
    }
    Ok((connection, passed))
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
