//! A connection that begins from cached hosts while the real lookup runs.
//!
//! Until the lookup has returned the same plan, and a grant for it, the host sees a TCP connection and a key exchange:
//! no user name and no certificate. Otherwise this connection is dropped, and its rows in the access log are closed.

use std::convert::Infallible;
use std::pin::pin;

use futures_util::future::maybe_done;
use tokio::sync::SetOnce;
use tokio::time::Instant;

use super::access::AccessLog;
use super::access_end::End;
use super::cached_plan;
use super::confirmation::Confirmation;
use super::connect::LoggedInHost;
use super::deadlines;
use super::gate::{NoPlan, PermittedHost};
use super::route_plan::RoutePlan;
use crate::centre::context::Context;
use crate::error::Stop;
use crate::exit_code::Exit;

/// Connects by the cached plan while `lookup` runs, and continues when that returns the same plan. Otherwise connects by
/// the plan of the lookup.
///
/// # Errors
/// Those of the lookup and of the connection. A refused attempt has a row in the access log.
pub(super) async fn connect<'a>(
    context: &Context,
    access: &AccessLog<'_>,
    cached: &'a RoutePlan,
    lookup: impl Future<Output = Result<PermittedHost, NoPlan>>,
    confirmed: &'a SetOnce<RoutePlan>,
    log_in: impl AsyncFn(&RoutePlan, Confirmation<'_>) -> Result<LoggedInHost, Stop>,
) -> Result<LoggedInHost, Stop> {
    let begun = Instant::now();
    let early = log_in(cached, Confirmation::awaited(confirmed));
    let mut early = Box::pin(maybe_done(early));
    let meanwhile = async {
        early.as_mut().await;
        std::future::pending::<Infallible>().await
    };
    let found = tokio::select! {
        // The lookup connects to Postgres first.
        biased;
        found = pin!(lookup) => found,
        never = meanwhile => match never {},
    };
    match found {
        Ok(PermittedHost { plan, .. })
            if plan.has_route_of(cached) && begun.elapsed() < deadlines::EARLY_CONNECTION =>
        {
            // The cell is empty: only this line fills it.
            let _ = confirmed.set(plan);
            early.as_mut().await;
            match early.as_mut().take_output() {
                Some(done) => done,
                None => std::future::pending().await,
            }
        }
        Ok(PermittedHost { plan, hosts }) => {
            drop(early);
            let why = if plan.has_route_of(cached) {
                "the lookup of the host took too long for the connection that waited for it"
            } else {
                cached_plan::correct(context, &plan, &hosts);
                "the inventory differs from the hosts cached on this machine; vctl connects again"
            };
            access.abandon(&End::not_confirmed(why.to_owned()));
            let again = log_in(&plan, Confirmation::GIVEN);
            access.while_settling(again).await
        }
        Err(NoPlan::Refused { plan, error }) => {
            drop(early);
            if !access.abandon(&End::of(&error)) {
                access.record_failure(&plan, &error).await;
            }
            Err(error.into())
        }
        Err(NoPlan::Stop(stop)) => {
            drop(early);
            let why = if let Stop::Error(error) = &stop {
                if error.exit == Exit::NotFound {
                    cached_plan::forget(context, cached);
                }
                error.one_line()
            } else {
                "the lookup of the host was stopped".to_owned()
            };
            access.abandon(&End::not_confirmed(why));
            Err(stop)
        }
    }
}
