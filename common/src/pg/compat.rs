//! Checks whether this program and the schema fit together: `docs/versions.md`.

use deadpool_postgres::ClientWrapper;
use tokio_postgres::SimpleQueryMessage;

use super::error::{PgError, Program};
use crate::centre::DbRole;

/// Protocol version of this `vctl`'s queries. It is raised when a change of the tables would make
/// an older `vctl` show wrong results.
pub const READER_PROTOCOL: u32 = 1;

/// Protocol version of the functions that this `vctl-agent` calls.
pub const AGENT_PROTOCOL: u32 = 1;

/// Asks for the versions of the schema, in the simple protocol: a prepared statement would take two round trips.
pub(super) const QUERY: &str = "select schema_version, reader_min, agent_min from vctl.compat_v1()";

/// Versions that the schema states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compat {
    schema_version: u32,
    reader_min: u32,
    agent_min: u32,
}

impl Compat {
    /// Reads the columns of [`QUERY`].
    pub(super) fn of(columns: &[Option<&str>]) -> Self {
        let number = |column: usize| columns.get(column).copied()??.parse().ok();
        Self {
            schema_version: number(0).unwrap_or(0),
            // A schema without a bound accepts all versions.
            reader_min: number(1).unwrap_or(0),
            agent_min: number(2).unwrap_or(0),
        }
    }
}

/// Checks the schema once per connection, in one round trip, so that no statement runs on a schema
/// that changed. A login at a known server checks it without a round trip.
///
/// # Errors
/// `SchemaTooOld` for a schema that has no such function, `ProgramTooOld` for one that no longer
/// has what this program needs.
pub(super) async fn check(client: &ClientWrapper, role: &DbRole) -> Result<(), PgError> {
    let answer = client.simple_query(QUERY).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let columns: Vec<_> = (0..3).map(|column| row?.get(column)).collect();
    judge(role, Compat::of(&columns))
}

/// Returns whether a program may use a schema with these versions.
///
/// # Errors
/// `ProgramTooOld`.
pub(super) fn judge(role: &DbRole, compat: Compat) -> Result<(), PgError> {
    let (program, has, needs) = match role {
        DbRole::AuditIngest(_) | DbRole::Status(_) => {
            (Program::Agent, AGENT_PROTOCOL, compat.agent_min)
        }
        _ => (Program::Vctl, READER_PROTOCOL, compat.reader_min),
    };
    if needs <= has {
        return Ok(());
    }
    Err(PgError::ProgramTooOld {
        program,
        schema_version: compat.schema_version,
        needs,
        has,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrolment::Enrolment;

    #[test]
    fn a_removed_protocol_names_the_program_to_update() {
        let host = Enrolment::without_generation(&"web-1".parse().unwrap());
        let compat = Compat {
            schema_version: 12,
            reader_min: READER_PROTOCOL,
            agent_min: AGENT_PROTOCOL + 1,
        };
        assert!(judge(&DbRole::AuditRo, compat).is_ok());
        let error = judge(&DbRole::AuditIngest(host), compat).unwrap_err();
        assert!(
            matches!(
                error,
                PgError::ProgramTooOld {
                    program: Program::Agent,
                    ..
                }
            ),
            "{error}"
        );
        let compat = Compat {
            reader_min: READER_PROTOCOL + 1,
            agent_min: 1,
            ..compat
        };
        let error = judge(&DbRole::Ro, compat).unwrap_err();
        assert!(
            error.to_string().contains("needs a newer `vctl`"),
            "{error}"
        );
    }
}
