//! Parts of enrolling, renaming and revoking: names, the mark in the inventory, the rest of a revocation.

use vctl_common::centre::DbRole;
use vctl_common::host::HostName;
use vctl_common::pg::PgError;

use crate::centre::context::Context;
use crate::centre::host_identity::NotRevoked;
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

/// Records whether a host is enrolled.
pub(super) async fn note_enrolled(
    context: &Context,
    host: &HostName,
    enrolled: bool,
) -> Result<(), Stop> {
    let client = context.connect_as(DbRole::Rw).await?;
    let sql = "update vctl.servers set enrolled_at = case when $2 then now() end \
               where hostname = $1::text";
    client
        .execute(sql, &[&host.as_str(), &enrolled])
        .await
        .map_err(PgError::from)?;
    Ok(())
}

/// Refuses a former name of another host: its credentials are still those of that host.
pub(super) async fn check_not_former(context: &Context, host: &HostName) -> Result<(), Stop> {
    let client = context.connect_as(DbRole::Ro).await?;
    let rows = client
        .query(include_str!("renamed_to.sql"), &[&host.as_str()])
        .await
        .map_err(PgError::from)?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let present: &str = row.get(0);
    let message = format!("`{host}` is a former name of host `{present}`");
    let hint = format!(
        "choose another name, or rename that host back: `vctl host rename {present} {host}`"
    );
    Err(CliError::new(Exit::Failure, message).hint(hint).into())
}

/// Returns the former names of a host. Credentials with such a name may still be those of the host.
pub(super) async fn former_names(
    context: &Context,
    host: &HostName,
) -> Result<Vec<HostName>, Stop> {
    let client = context.connect_as(DbRole::Ro).await?;
    let rows = client
        .query(include_str!("former_names.sql"), &[&host.as_str()])
        .await
        .map_err(PgError::from)?;
    let names = rows.iter().map(|row| row.get::<_, &str>(0).parse());
    Ok(names.filter_map(Result::ok).collect())
}

/// Returns the error for a name that may be that of an AppRole for users or jobs.
pub(super) fn reserved(host: &HostName) -> Stop {
    let message =
        format!("`{host}` cannot be enrolled: `vctl-` is reserved for AppRoles of people and jobs");
    CliError::new(Exit::Usage, message)
        .hint("give the host another name in the inventory")
        .into()
}
