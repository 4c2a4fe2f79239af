//! Reads the hosts of the inventory with their last signs and former names, and what a rename or a revocation left.

use std::time::SystemTime;

use vctl_common::centre::DbRole;
use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;
use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::{Client, Error, Row};

use super::model::{EnrolledHost, FormerName, OldNameLeft};
use crate::centre::context::Context;
use crate::centre::host_identity::FoundEnrolment;
use crate::centre::instant::Instant;
use crate::error::Stop;

/// Returns every host of the inventory by name, without its AppRoles.
pub(crate) async fn hosts(client: &Client) -> Result<Vec<EnrolledHost>, Error> {
    let rows = client
        .query_typed(include_str!("enrolled.sql"), &[])
        .await?;
    rows.iter().map(host).collect()
}

fn host(row: &Row) -> Result<EnrolledHost, Error> {
    let time = |column| -> Result<Option<SystemTime>, Error> {
        let at: Option<Instant> = row.try_get(column)?;
        Ok(at.and_then(|at| at.0))
    };
    let names: Vec<String> = row.try_get("names")?;
    let untils: Vec<Instant> = row.try_get("untils")?;
    let people: Vec<String> = row.try_get("people")?;
    let former = names.into_iter().zip(untils).zip(people);
    Ok(EnrolledHost {
        name: row.try_get("hostname")?,
        dc: row.try_get("dc")?,
        state: row.try_get("state")?,
        approles: Vec::new(),
        enrolled_at: time("enrolled_at")?,
        last_record_at: time("last_record_at")?,
        last_report_at: time("reported_at")?,
        secret_id_expires_at: time("secret_id_expires_at")?,
        former_names: former
            .map(|((name, until), renamed_by)| FormerName {
                name,
                until: until.0,
                renamed_by,
            })
            .collect(),
    })
}

/// Returns whether the inventory has a host of this name.
pub(crate) async fn is_in_inventory(context: &Context, host: &HostName) -> Result<bool, Stop> {
    let client = context.connect_as(DbRole::Ro).await?;
    let sql = "select exists (select from vctl.servers where hostname = $1::text)";
    let row = client
        .query_one(sql, &[&host.as_str()])
        .await
        .map_err(PgError::from)?;
    Ok(row.get(0))
}

/// Returns the present name of another host that had this name before.
pub(crate) async fn present_name(
    context: &Context,
    former: &HostName,
) -> Result<Option<String>, Stop> {
    let client = context.connect_as(DbRole::Ro).await?;
    let rows = client
        .query(include_str!("renamed_to.sql"), &[&former.as_str()])
        .await
        .map_err(PgError::from)?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Returns the former names of a host. Credentials with such a name may still be those of the host.
pub(crate) async fn former_names(
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

/// Returns whether the host logs in with its new identity.
pub(crate) async fn in_use(
    context: &Context,
    new: &Enrolment,
    former: &[FoundEnrolment],
) -> Result<bool, Stop> {
    let client = context.connect_as(DbRole::Rw).await?;
    let former: Vec<&str> = former
        .iter()
        .map(|found| found.enrolment.approle())
        .collect();
    let row = client
        .query_one(include_str!("in_use.sql"), &[&new.approle(), &former])
        .await
        .map_err(PgError::from)?;
    Ok(row.get(0))
}

/// Returns the database logins of an enrolment that still exist in Postgres, by their names from Vault.
pub(crate) async fn logins(context: &Context, enrolment: &Enrolment) -> Result<Vec<String>, Stop> {
    let client = context.connect_as(DbRole::Rw).await?;
    let rows = client
        .query(include_str!("logins.sql"), &[&enrolment.approle()])
        .await
        .map_err(PgError::from)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Returns the places that still have the former name of a host.
pub(crate) async fn old_name_left(
    context: &Context,
    old: &HostName,
    new: &HostName,
) -> Result<OldNameLeft, Stop> {
    let client = context.connect_as(DbRole::Ro).await?;
    let row = client
        .query_one(
            include_str!("old_name_left.sql"),
            &[&old.as_str(), &new.as_str()],
        )
        .await
        .map_err(PgError::from)?;
    Ok(OldNameLeft {
        has_certificate: row.get(0),
        scopes: row.get(1),
    })
}
