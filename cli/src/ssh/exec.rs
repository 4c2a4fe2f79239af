//! One command for `vctl mcp`: the same lookup, access row, certificate and host keys as `vctl ssh`.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::{Semaphore, mpsc};
use vctl_common::causes::WithCauses;

use super::access::AccessLog;
use super::access_end::End;
use super::confirmation::Confirmation;
use super::error::SshError;
use super::route_plan::{RoutePlan, Target};
use super::run::{Attempt, ConnectionUse, INBOUND, SshRequest, find, log_in};
use super::session::{self, CaptureEnd, CommandState, OutputStream};
use crate::centre::context::Context;
use crate::config::Config;
use crate::error::Stop;

/// Maximum number of connections to one host that are being opened: sshd refuses some of more than ten (MaxStartups).
const OPENING: usize = 8;

/// Places for connections that are being opened, by the host that accepts the connection first.
#[derive(Default)]
pub(crate) struct Places(RefCell<HashMap<String, Rc<Semaphore>>>);

impl Places {
    fn of(&self, plan: &RoutePlan) -> Rc<Semaphore> {
        let first = plan.jumps.first().unwrap_or(&plan.target);
        let mut places = self.0.borrow_mut();
        let new = || Rc::new(Semaphore::new(OPENING));
        Rc::clone(places.entry(first.name.clone()).or_insert_with(new))
    }
}

/// A command that was started on a host, or that was stopped.
#[derive(Debug)]
pub(crate) struct Executed {
    /// The host; `None` if the command was stopped before the login.
    pub(crate) target: Option<Target>,
    pub(crate) end: Result<CaptureEnd, Stop>,
}

/// Connects and runs the command of `request`, until its end or until `stop` returns the reason to stop it.
///
/// # Errors
/// There was no login at the host.
pub(crate) async fn exec(
    context: &Context,
    config: &Config,
    access: &AccessLog<'_>,
    request: &SshRequest,
    places: &Places,
    output: &mut impl FnMut(OutputStream, &[u8]),
    mut stop: Pin<&mut impl Future<Output = String>>,
) -> Result<Executed, Stop> {
    let command = match &request.what {
        ConnectionUse::Session { command, .. } => command.as_deref().unwrap_or_default(),
        ConnectionUse::Ports | ConnectionUse::Stdio(_) => &[],
    };
    let (inbound, _from_host) = mpsc::channel(INBOUND);
    let planned = OnceCell::new();
    let connecting = async {
        let found = match find(config, request, access).await {
            Ok(found) => found,
            Err(none) => return Err(none.record(access).await),
        };
        let plan = planned.get_or_init(|| found.plan);
        let places = places.of(plan);
        // Held until the login at the target, and not only at the jump host: the sshd of the target has the same limit,
        // and calls to one target behind a jump host share these places.
        let _place = places.acquire().await;
        let attempt = Attempt {
            plan,
            confirmation: Confirmation::GIVEN,
            inbound,
        };
        Box::pin(log_in(context, config, request, access, attempt)).await
    };
    let reached = tokio::select! {
        reached = access.while_connecting(connecting) => reached,
        why = &mut stop => {
            // Vault may have signed a certificate.
            if let Some(plan) = planned.get() {
                access.record_stop(plan, &why).await;
            }
            let state = CommandState::NotStarted;
            let end = Ok(CaptureEnd::Stopped { why, state });
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
            let end = captured.map_err(Stop::from);
            Ok(Executed { target, end })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::host;

    #[test]
    fn hosts_behind_a_jump_host_share_its_places() {
        let target = |name: &str| Target::of(&host(name), "ssh");
        let places = Places::default();
        let of = |jump: &[&str], name: &str| {
            let jumps = jump.iter().map(|jump| target(jump)).collect();
            places.of(&RoutePlan::new(jumps, target(name), false))
        };
        let of_jump = of(&["jump-1"], "web-1");
        assert!(Rc::ptr_eq(&of_jump, &of(&["jump-1"], "web-2")));
        assert!(Rc::ptr_eq(&of_jump, &of(&[], "jump-1")));
        assert!(!Rc::ptr_eq(&of_jump, &of(&[], "web-1")));
    }
}
