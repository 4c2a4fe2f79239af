//! What enrolling and revoking share: the mark in the inventory, and what a revocation left behind.

use vctl_common::centre::DbRole;
use vctl_common::host::HostName;
use vctl_common::pg::PgError;

use crate::centre::context::Context;
use crate::centre::host_identity::NotRevoked;
use crate::error::{CliError, Stop};

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
    let client = context.connect(&context.pool(DbRole::Rw)?).await?;
    let sql = "update vctl.servers set enrolled_at = case when $2 then now() end \
               where hostname = $1::text";
    client
        .execute(sql, &[&host.as_str(), &enrolled])
        .await
        .map_err(PgError::from)?;
    Ok(())
}
