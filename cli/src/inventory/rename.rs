//! Renames a host in the database: its inventory row, and the id that its records refer to.

use postgres_types::{ToSql, Type};
use vctl_common::pg::tokio_postgres::{Error, GenericClient};
use vctl_common::pg::{PgError, tokio_postgres::error::SqlState};

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Raised by `vctl.host_rename_v1`: the names do not allow the rename.
const REFUSED: &str = "VC003";
/// Raised by `vctl.host_rename_v1`: the inventory has only the new name.
const BY_INVENTORY: &str = "VC004";

/// The result of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renamed {
    Now,
    /// The host was renamed so before.
    Before,
}

/// The host was not renamed.
pub(crate) enum RenameError {
    /// The inventory has only the new name: the user must state that it is the same host.
    ByInventory(CliError),
    Other(CliError),
}

/// Renames a host in one transaction. `is_renamed` states that the inventory row with the new name is this host.
pub(crate) async fn host(
    client: &impl GenericClient,
    by: &str,
    old: &str,
    new: &str,
    is_renamed: bool,
) -> Result<Renamed, RenameError> {
    let values: [(&(dyn ToSql + Sync), Type); 4] = [
        (&by, Type::TEXT),
        (&old, Type::TEXT),
        (&new, Type::TEXT),
        (&is_renamed, Type::BOOL),
    ];
    let statement = "select vctl.host_rename_v1($1, $2, $3, $4)";
    let rows = client.query_typed(statement, &values).await;
    let said: Result<Option<String>, Error> =
        rows.and_then(|rows| rows.first().map(|row| row.try_get(0)).transpose());
    match said {
        Ok(Some(said)) if said == "done" => Ok(Renamed::Before),
        Ok(_) => Ok(Renamed::Now),
        Err(error) => Err(refused(error)),
    }
}

impl From<RenameError> for Stop {
    fn from(error: RenameError) -> Self {
        match error {
            RenameError::ByInventory(error) | RenameError::Other(error) => error.into(),
        }
    }
}

fn refused(error: Error) -> RenameError {
    let Some(db) = error.as_db_error() else {
        return RenameError::Other(PgError::from(error).into());
    };
    let exit = match db.code() {
        code if code.code() == REFUSED || code.code() == BY_INVENTORY => Exit::Failure,
        &SqlState::NO_DATA_FOUND => Exit::NotFound,
        _ => return RenameError::Other(PgError::from(error).into()),
    };
    let mut refusal = CliError::new(exit, db.message());
    if let Some(hint) = db.hint() {
        refusal = refusal.hint(hint);
    }
    if db.code().code() == BY_INVENTORY {
        RenameError::ByInventory(refusal)
    } else {
        RenameError::Other(refusal)
    }
}
