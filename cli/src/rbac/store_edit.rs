//! Changes groups, members and grants, each by a function of the database that also records the change.
//!
//! The functions take the user's display name and compare it with the login, so that a change has the right name.

use postgres_types::{ToSql, Type};
use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::{Client, Row};

use super::scope::Grant;

/// Whether something is added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Add,
    Remove,
}

type Values<'a, const N: usize> = [(&'a (dyn ToSql + Sync), Type); N];

/// Creates a group, or sets the description of an existing one. Returns whether anything changed.
pub(crate) async fn create_group(
    client: &Client,
    by: &str,
    group: &str,
    description: Option<&str>,
) -> Result<bool, PgError> {
    let values: Values<'_, 3> = [
        (&by, Type::TEXT),
        (&group, Type::TEXT),
        (&description, Type::TEXT),
    ];
    let statement = "select vctl.rbac_create_group_v1($1, $2, $3)";
    Ok(one(client, statement, &values).await?.try_get(0)?)
}

/// Deletes a group with its members and grants.
pub(crate) async fn delete_group(client: &Client, by: &str, group: &str) -> Result<(), PgError> {
    let values: Values<'_, 2> = [(&by, Type::TEXT), (&group, Type::TEXT)];
    one(client, "select vctl.rbac_delete_group_v1($1, $2)", &values).await?;
    Ok(())
}

/// Adds or removes members, by their whole display names. Returns the names for which something changed.
pub(crate) async fn members(
    client: &Client,
    by: &str,
    group: &str,
    users: &[String],
    edit: Edit,
) -> Result<Vec<String>, PgError> {
    let values: Values<'_, 4> = [
        (&by, Type::TEXT),
        (&group, Type::TEXT),
        (&users, Type::TEXT_ARRAY),
        (&(edit == Edit::Add), Type::BOOL),
    ];
    let statement = "select vctl.rbac_members_v1($1, $2, $3, $4)";
    Ok(one(client, statement, &values).await?.try_get(0)?)
}

/// Adds or removes grants. Returns those for which something changed.
pub(crate) async fn grants(
    client: &Client,
    by: &str,
    group: &str,
    grants: &[Grant],
    edit: Edit,
) -> Result<Vec<Grant>, PgError> {
    let commands: Vec<&str> = grants.iter().map(|grant| &*grant.command).collect();
    let scopes: Vec<String> = grants.iter().map(|grant| grant.scope.to_string()).collect();
    let values: Values<'_, 5> = [
        (&by, Type::TEXT),
        (&group, Type::TEXT),
        (&commands, Type::TEXT_ARRAY),
        (&scopes, Type::TEXT_ARRAY),
        (&(edit == Edit::Add), Type::BOOL),
    ];
    let statement = "select vctl.rbac_grants_v1($1, $2, $3, $4, $5)";
    let changed: Vec<bool> = one(client, statement, &values).await?.try_get(0)?;
    let changed = grants.iter().zip(changed).filter(|(_, changed)| *changed);
    Ok(changed.map(|(grant, _)| grant.clone()).collect())
}

async fn one(
    client: &Client,
    statement: &str,
    values: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Row, PgError> {
    Ok(client.query_typed_one(statement, values).await?)
}
