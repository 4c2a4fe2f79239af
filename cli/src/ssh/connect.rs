//! The routes to a host: direct and through jump hosts, in parallel.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::pin;

use futures_util::future::{Either, select};
use russh::ChannelStream;
use russh::client::Msg;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

use super::access_end::End;
use super::connect_context::ConnectContext;
use super::deadlines;
use super::dial;
use super::error::SshError;
use super::first_channel::FirstChannel;
use super::handler::Inbound;
use super::hop::Connection;
use super::route_plan::{RoutePlan, Target};
use super::russh_settings::HostCertificates;
use super::unended::Row;
use crate::ssh_ca::user_certificate::Credential;

/// A host with a successful login.
pub(crate) struct LoggedInHost {
    pub(crate) connection: Connection,
    /// The connections to the jump hosts, which must stay open.
    pub(crate) _jumps: Vec<Connection>,
    pub(crate) target: Target,
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
pub(crate) async fn log_in(
    plan: &RoutePlan,
    context: &ConnectContext<'_>,
) -> Result<LoggedInHost, SshError> {
    let connect = async |jumps: &[Target]| connect_by_route(jumps, plan, context).await;
    let reached = Box::pin(first_route(plan, connect)).await;
    // Nothing is sent to a host that the lookup does not confirm, and no failure of it is recorded.
    let plan = context.confirmation.wait().await.unwrap_or(plan);
    match reached {
        Ok(Verified {
            mut connection,
            jumps,
            mut credential,
            row,
        }) => {
            credential.validity.host_ahead = plan.target.clock_offset_s;
            let user = &plan.target.user;
            let logged_in = connection.log_in(user, &credential, &context.first_channel);
            match logged_in.await {
                Ok(()) => Ok(LoggedInHost {
                    connection,
                    _jumps: jumps,
                    target: plan.target.clone(),
                    row,
                }),
                Err(error) => {
                    context.access.close(row, &End::of(&error)).await;
                    Err(error)
                }
            }
        }
        Err(error) => {
            context.access.record_failure(plan, &error).await;
            Err(error)
        }
    }
}

/// Returns the result of the route that is ready first: the direct one, or the one through the jump hosts, which starts
/// after a delay or when the direct one fails.
pub(super) async fn first_route<T>(
    plan: &RoutePlan,
    connect: impl AsyncFn(&[Target]) -> Result<T, SshError>,
) -> Result<T, SshError> {
    if plan.jumps.is_empty() || !plan.direct {
        return Box::pin(connect(&plan.jumps)).await;
    }
    let direct_failed = Notify::new();
    let direct = async {
        let reached = Box::pin(connect(&[])).await;
        if reached.is_err() {
            direct_failed.notify_one();
        }
        reached
    };
    let chain = async {
        let head_start = timeout(deadlines::HEAD_START, direct_failed.notified());
        // Whether notified or timed out, the jump hosts are tried now.
        let _ = head_start.await;
        Box::pin(connect(&plan.jumps)).await
    };
    let (direct, chain) = match select(pin!(direct), pin!(chain)).await {
        Either::Left((Ok(reached), _)) | Either::Right((Ok(reached), _)) => return Ok(reached),
        Either::Left((Err(error), _)) | Either::Right((Err(error), _)) if error.is_fatal() => {
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
    if chain.is_fatal() {
        return Err(chain);
    }
    if direct.is_fatal() {
        return Err(direct);
    }
    Err(SshError::BothRoutes {
        host: plan.target.name.clone(),
        direct: Box::new(direct),
        jump: Box::new(chain),
    })
}

/// Connects by one route, up to the login at the target.
async fn connect_by_route(
    jumps: &[Target],
    plan: &RoutePlan,
    context: &ConnectContext<'_>,
) -> Result<Verified, SshError> {
    let inbound = jumps.is_empty().then(|| context.inbound.clone());
    let StartedRoute {
        connection,
        credentials,
        row,
        ..
    } = start_route(jumps, plan, context, inbound).await?;
    let done = async {
        let first = connection?;
        if jumps.is_empty() {
            return Ok((first, Vec::new()));
        }
        let (stream, passed) =
            pass_jumps(first, jumps, &plan.target, context, &credentials).await?;
        let (target, inbound) = (&plan.target, Some(context.inbound.clone()));
        let redial = async || match passed.last() {
            Some(last) => last.connect_on(&target.name, target.addr).await,
            None => Err(SshError::no_certificate()),
        };
        let connection = shake_hands(stream, redial, target, context, inbound).await?;
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
            context.access.close(row, &End::of(&error)).await;
            Err(error)
        }
    }
}

/// A route with its row, and the connection to its first host if that succeeded.
pub(super) struct StartedRoute {
    pub(super) connection: Result<Connection, SshError>,
    pub(super) credentials: Vec<Credential>,
    /// Local address of the connection.
    pub(super) source: Option<SocketAddr>,
    pub(super) row: Row,
}

/// Connects to the first host of a route.
///
/// Meanwhile the certificates are signed and the row is committed: neither is needed before the first login.
pub(super) async fn start_route(
    jumps: &[Target],
    plan: &RoutePlan,
    context: &ConnectContext<'_>,
    inbound: Option<mpsc::Sender<Inbound>>,
) -> Result<StartedRoute, SshError> {
    let first = jumps.first().unwrap_or(&plan.target);
    let (tell_source, source) = oneshot::channel();
    let second_source = Cell::new(None);
    let network = async {
        let stream = dial::tcp(&first.name, first.addr).await?;
        let _ = tell_source.send(stream.local_addr().ok());
        let redial = async || {
            let stream = dial::tcp(&first.name, first.addr).await?;
            second_source.set(stream.local_addr().ok());
            Ok(stream)
        };
        shake_hands(stream, redial, first, context, inbound).await
    };
    let writes_row = Cell::new(false);
    let signing = context.sign(jumps, plan);
    let centre = async {
        let credentials = signing.certificates().await?;
        // Sent before the server is verified, or never: then this does not wait.
        let source = source.await.ok().flatten();
        let _connected = context.access.when_connected(&context.confirmation).await;
        writes_row.set(true);
        let source = second_source.get().or(source);
        let row = context.access.open_signed(&signing, &credentials, source);
        Ok::<_, SshError>((row.await?, credentials, source))
    };
    let (connection, (row, credentials, source)) = match select(pin!(network), pin!(centre)).await {
        Either::Left((Err(error), _)) if !writes_row.get() => return Err(error),
        // A row that is being written is completed, so that it can be closed with the error.
        Either::Left((connection, centre)) => match centre.await {
            Ok(centre) => (connection, centre),
            Err(error) => return Err(connection.err().unwrap_or(error)),
        },
        Either::Right((centre, network)) => {
            let centre = centre?;
            (network.await, centre)
        }
    };
    let (row, source) = match (&connection, second_source.get()) {
        // With the address of the first connection, the host's record of the login would contradict the row.
        (Ok(_), Some(second)) if source != Some(second) => {
            let why = "vctl connected again, and asked for no host certificate".to_owned();
            context.access.close(row, &End::not_confirmed(why)).await;
            let access = &context.access;
            let row = access.open(jumps, &plan.target, &credentials, Some(second));
            (row.await?, Some(second))
        }
        _ => (row, source),
    };
    Ok(StartedRoute {
        connection,
        credentials,
        source,
        row,
    })
}

/// Logs in to each jump host and connects to the next host. Returns the stream to the target, and the connections that
/// it uses.
pub(super) async fn pass_jumps(
    first: Connection,
    jumps: &[Target],
    target: &Target,
    context: &ConnectContext<'_>,
    credentials: &[Credential],
) -> Result<(ChannelStream<Msg>, Vec<Connection>), SshError> {
    let (mut connection, mut passed) = (first, Vec::new());
    context.confirmation.wait().await;
    for (index, jump) in jumps.iter().enumerate() {
        let next = jumps.get(index + 1).unwrap_or(target);
        let to_next = FirstChannel::to(next.addr);
        let credential = &credentials[index];
        connection.log_in(&jump.user, credential, &to_next).await?;
        let stream = connection.connect_on(&next.name, next.addr).await?;
        passed.push(connection);
        if index + 1 == jumps.len() {
            return Ok((stream, passed));
        }
        let redial = async || match passed.last() {
            Some(last) => last.connect_on(&next.name, next.addr).await,
            None => Err(SshError::no_certificate()),
        };
        connection = shake_hands(stream, redial, next, context, None).await?;
    }
    Err(SshError::no_certificate())
}

/// Makes the handshake. A host that shows the certificate of an unknown CA may have a known key of another type: then
/// `redial` connects once more, and the host is asked for no certificate.
async fn shake_hands<S>(
    stream: S,
    redial: impl AsyncFnOnce() -> Result<S, SshError>,
    target: &Target,
    context: &ConnectContext<'_>,
    inbound: Option<mpsc::Sender<Inbound>>,
) -> Result<Connection, SshError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let certificates = HostCertificates::Preferred;
    let again = inbound.clone();
    let first = Connection::shake_hands(stream, target, context, inbound, certificates).await;
    match first {
        Err(error) if error.hides_known_key() => {
            let stream = redial().await?;
            let certificates = HostCertificates::Refused;
            Connection::shake_hands(stream, target, context, again, certificates).await
        }
        done => done,
    }
}
