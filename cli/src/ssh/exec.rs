//! One command for `vctl mcp`: the same lookup, access row, certificate and host keys as `vctl ssh`.

use std::pin::Pin;

use tokio::sync::{Semaphore, mpsc};
use vctl_common::causes::WithCauses;

use super::access::{AccessLog, End};
use super::error::SshError;
use super::route_plan::Target;
use super::run::{ConnectionUse, INBOUND, SshRequest, connect};
use super::session::{self, CaptureEnd, OutputStream};
use crate::centre::context::Context;
use crate::config::Config;
use crate::error::Stop;

/// A command that ran, or was stopped.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    /// The host; `None` if the command was stopped before the connection was open.
    pub(crate) target: Option<Target>,
    pub(crate) end: CaptureEnd,
}

/// Connects and runs the command of `request`, until its end or until `stop` returns the reason to stop it.
///
/// `places` limits the connections that are being opened at the same time.
pub(crate) async fn exec(
    context: &Context,
    config: &Config,
    access: &AccessLog<'_>,
    request: &SshRequest,
    places: &Semaphore,
    output: &mut impl FnMut(OutputStream, &[u8]),
    mut stop: Pin<&mut impl Future<Output = String>>,
) -> Result<Executed, Stop> {
    let command = match &request.what {
        ConnectionUse::Session { command, .. } => command.as_deref().unwrap_or_default(),
        ConnectionUse::Ports | ConnectionUse::Stdio(_) => &[],
    };
    let (inbound, _from_host) = mpsc::channel(INBOUND);
    let connecting = async {
        let _place = places.acquire().await;
        let connecting = connect(context, config, request, access, inbound);
        access.while_connecting(connecting).await
    };
    let reached = tokio::select! {
        reached = connecting => reached,
        why = &mut stop => {
            access.close_rest(&why).await;
            let end = CaptureEnd::Stopped { why, has_ended: true };
            return Ok(Executed { target: None, end });
        }
    };
    let done = match reached {
        Ok(reached) => {
            let captured = session::capture(&reached.connection, command, output, stop);
            let captured = access.during(&reached.row, captured).await;
            // First: sshd ends a command that ignores signals only when its output has no reader.
            reached.connection.close().await;
            access.close(reached.row, &end_of(&captured)).await;
            let target = Some(reached.target);
            let done = captured.map(|end| Executed { target, end });
            done.map_err(Stop::from)
        }
        Err(error) => Err(error),
    };
    access.close_rest("the connection was not used").await;
    access.replay().await;
    done
}

fn end_of(captured: &Result<CaptureEnd, SshError>) -> End {
    match captured {
        Ok(CaptureEnd::Exited(code)) => End::exited(*code),
        Ok(CaptureEnd::Silent) => End::closed(None),
        Ok(CaptureEnd::Stopped { why, .. }) => End::closed(Some(why.clone())),
        Err(error) => End::closed(Some(WithCauses(error).to_string())),
    }
}
