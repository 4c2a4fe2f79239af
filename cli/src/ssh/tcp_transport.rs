//! A connection to a host's SSH port, for a client that makes the handshake and logs in by itself.

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::timeout;

use super::access_end::End;
use super::connect;
use super::connect_context::ConnectContext;
use super::deadlines;
use super::dial;
use super::error::{ConnectStep, SshError};
use super::hop::Connection;
use super::route_plan::{RoutePlan, Target};
use super::unended::Row;
use crate::ssh_ca::user_certificate::Credential;

/// Maximum number of bytes per read.
const PIECE: usize = 256 << 10;

/// Bytes to and from a host.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connected SSH port, with the first bytes from the server.
pub(crate) struct SshPort {
    pub(crate) stream: Box<dyn Stream>,
    /// The first bytes from the server.
    pub(crate) greeting: BytesMut,
    /// Local address of the first connection.
    pub(crate) source: Option<SocketAddr>,
    /// The connections to the jump hosts, which must stay open.
    pub(crate) _jumps: Vec<Connection>,
    /// If jump hosts were used: the certificate for the target itself, and the access-log row.
    pub(crate) used_certificate: Option<(Credential, Row)>,
}

/// Connects to the target's port by the route that is ready first.
///
/// An SSH server sends its version without being asked; a server that sends nothing counts as unreachable. The host key
/// is verified by the client, not here.
pub(crate) async fn open_port(
    plan: &RoutePlan,
    context: &ConnectContext<'_>,
) -> Result<SshPort, SshError> {
    let connect = async |jumps: &[Target]| match jumps {
        [] => connect_directly(&plan.target).await,
        jumps => connect_through(jumps, plan, context).await,
    };
    Box::pin(connect::first_route(plan, connect)).await
}

async fn connect_directly(target: &Target) -> Result<SshPort, SshError> {
    let mut stream = dial::tcp(&target.name, target.addr).await?;
    let greeting = greeting(&mut stream, &target.name).await?;
    Ok(SshPort {
        source: stream.local_addr().ok(),
        stream: Box::new(stream),
        greeting,
        _jumps: Vec::new(),
        used_certificate: None,
    })
}

async fn connect_through(
    jumps: &[Target],
    plan: &RoutePlan,
    context: &ConnectContext<'_>,
) -> Result<SshPort, SshError> {
    let connect::StartedRoute {
        connection,
        credentials,
        source,
        row,
    } = connect::start_route(jumps, plan, context, None).await?;
    let done = async {
        let (mut stream, passed) =
            connect::pass_jumps(connection?, jumps, &plan.target, context, &credentials).await?;
        let greeting = greeting(&mut stream, &plan.target.name).await?;
        Ok((stream, greeting, passed))
    };
    match (done.await, credentials.last()) {
        (Ok((stream, greeting, passed)), Some(credential)) => Ok(SshPort {
            stream: Box::new(stream),
            greeting,
            source,
            _jumps: passed,
            used_certificate: Some((credential.clone(), row)),
        }),
        (Ok(_), None) => Err(SshError::no_certificate()),
        (Err(error), _) => {
            context.access.close(row, &End::of(&error)).await;
            Err(error)
        }
    }
}

async fn greeting(stream: &mut (impl AsyncRead + Unpin), host: &str) -> Result<BytesMut, SshError> {
    let mut greeting = BytesMut::with_capacity(PIECE);
    let reading = stream.read_buf(&mut greeting);
    let read = timeout(deadlines::HANDSHAKE, reading).await;
    let host = || host.to_owned();
    let read = read.map_err(|_| SshError::TooSlow {
        step: ConnectStep::Handshake,
        host: host(),
        after: deadlines::HANDSHAKE,
    })?;
    let failed = |source: russh::Error| SshError::Failed {
        step: ConnectStep::Handshake,
        host: host(),
        source: source.into(),
    };
    match read {
        Ok(0) => Err(failed(russh::Error::Disconnect)),
        Ok(_) => Ok(greeting),
        Err(source) => Err(failed(source.into())),
    }
}
