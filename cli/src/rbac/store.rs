//! Reads groups, users and recorded changes. Parameter types are given, so that each query is one round trip.

use std::time::Duration;

use postgres_types::{Json, ToSql, Type};
use serde_json::Value;
use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::{Client, Error, Row};

use super::caller::CallerGrants;
use super::model::{Change, ChangeFilter, Group, LastLogin, User};
use crate::centre::instant::Instant;
use crate::login::own_grants;

/// Returns the groups and grants of the user of this connection, whom the database knows by the login.
pub(crate) async fn caller_grants(client: &Client) -> Result<CallerGrants, PgError> {
    Ok(CallerGrants::of(own_grants::read(client).await?))
}

/// Returns all groups by name.
pub(crate) async fn groups(client: &Client) -> Result<Vec<Group>, PgError> {
    let rows = client.query_typed(include_str!("groups.sql"), &[]).await?;
    let groups: Result<Vec<Group>, Error> = rows.iter().map(group).collect();
    Ok(groups?)
}

fn group(row: &Row) -> Result<Group, Error> {
    Ok(Group {
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        created_at: row.try_get::<_, Instant>("created_at")?.0,
        members: row.try_get("members")?,
        grants: row.try_get("grants")?,
    })
}

/// Returns users with a recorded login and members of groups, by name.
pub(crate) async fn users(client: &Client) -> Result<Vec<User>, PgError> {
    let rows = client.query_typed(include_str!("users.sql"), &[]).await?;
    let users: Result<Vec<User>, Error> = rows.iter().map(user).collect();
    Ok(users?)
}

fn user(row: &Row) -> Result<User, Error> {
    let version: Option<String> = row.try_get("vctl_version")?;
    let age: Option<f64> = row.try_get("age_s")?;
    let at = row.try_get::<_, Option<Instant>>("last_seen")?;
    let login = version.map(|vctl_version| LastLogin {
        at: at.and_then(|at| at.0),
        age: Duration::try_from_secs_f64(age.unwrap_or(0.0).max(0.0)).unwrap_or(Duration::MAX),
        vctl_version,
    });
    Ok(User {
        display_name: row.try_get("display_name")?,
        login,
        groups: row.try_get("groups")?,
    })
}

/// Returns the newest recorded changes first.
pub(crate) async fn changes(
    client: &Client,
    filter: &ChangeFilter,
) -> Result<Vec<Change>, PgError> {
    let limit = match filter.limit {
        0 => i64::MAX,
        limit => i64::try_from(limit).unwrap_or(i64::MAX),
    };
    let values: [(&(dyn ToSql + Sync), Type); 3] = [
        (&filter.group, Type::TEXT),
        (&filter.user, Type::TEXT),
        (&limit, Type::INT8),
    ];
    let rows = client
        .query_typed(include_str!("changes.sql"), &values)
        .await?;
    let changes: Result<Vec<Change>, Error> = rows.iter().map(change).collect();
    Ok(changes?)
}

fn change(row: &Row) -> Result<Change, Error> {
    let state = |name| {
        let state = row.try_get::<_, Option<Json<Value>>>(name)?;
        Ok::<_, Error>(state.map(|state| state.0))
    };
    Ok(Change {
        id: row.try_get("id")?,
        changed_at: row.try_get::<_, Instant>("changed_at")?.0,
        changed_by: row.try_get("changed_by")?,
        action: row.try_get("action")?,
        group: row.try_get("group_name")?,
        before: state("before")?,
        after: state("after")?,
    })
}
