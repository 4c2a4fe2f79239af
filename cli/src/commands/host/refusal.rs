//! Refusals of enrolling, renaming and revoking, with hints for the operator.

use vctl_common::host::HostName;

use crate::centre::context::Context;
use crate::centre::host_identity::NotRevoked;
use crate::enrolled;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Returns an error that names the parts of a host's identity that may still be valid.
pub(super) fn check_all_removed(host: &HostName, left: Vec<NotRevoked>) -> Result<(), Stop> {
    let parts: Vec<_> = left.iter().map(|left| left.part.clone()).collect();
    let Some(first) = left.into_iter().next() else {
        return Ok(());
    };
    let message = format!(
        "host `{host}` is not completely revoked; still there: {}",
        parts.join(", ")
    );
    let cause = CliError::from(first.error);
    let mut error = CliError::new(cause.exit, message);
    error.causes = [vec![cause.message], cause.causes].concat();
    let hint = format!("fix the cause, then run `vctl host revoke {host}` again");
    Err(error.hint(cause.hint.unwrap_or(hint)).into())
}

/// Refuses a former name of another host: its credentials are still those of that host.
pub(super) async fn check_not_former(context: &Context, host: &HostName) -> Result<(), Stop> {
    let Some(present) = enrolled::store::present_name(context, host).await? else {
        return Ok(());
    };
    let message = format!("`{host}` is a former name of host `{present}`");
    let hint = format!(
        "choose another name, or rename that host back: `vctl host rename {present} {host}`"
    );
    Err(CliError::new(Exit::Failure, message).hint(hint).into())
}

/// Returns the error for a name that may be that of an AppRole for users or jobs.
pub(super) fn reserved(host: &HostName) -> Stop {
    let message =
        format!("`{host}` cannot be enrolled: `vctl-` is reserved for AppRoles of people and jobs");
    CliError::new(Exit::Usage, message)
        .hint("give the host another name in the inventory")
        .into()
}
