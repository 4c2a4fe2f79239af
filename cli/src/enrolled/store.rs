//! Reads the hosts of the inventory with their last signs and former names.

use std::time::SystemTime;

use vctl_common::pg::tokio_postgres::{Client, Error, Row};

use super::model::{EnrolledHost, FormerName};
use crate::centre::instant::Instant;

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
