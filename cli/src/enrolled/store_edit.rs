//! Notes in the inventory whether a host is enrolled.

use vctl_common::centre::DbRole;
use vctl_common::host::HostName;
use vctl_common::pg::PgError;

use crate::centre::context::Context;
use crate::error::Stop;

/// Records whether a host is enrolled.
pub(crate) async fn note_enrolled(
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
