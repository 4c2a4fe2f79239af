//! Errors of Postgres, grouped by the user's next step.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

use crate::causes::WithCauses;
use crate::centre::DbRole;
use crate::tls::{TlsProblem, TlsSetupError};
use crate::vault::VaultError;

/// Raised by functions of the database when the calling host is not in the inventory.
pub const NOT_IN_INVENTORY: &str = "VC001";

/// The side that needs an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Vctl,
    Agent,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vctl => "vctl",
            Self::Agent => "vctl-agent",
        })
    }
}

/// A connection to the central store, or a statement on one, failed.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    #[error("`{value}` is not a valid {what}")]
    Setting { what: &'static str, value: String },
    #[error("cannot set up TLS to Postgres at `{addr}`")]
    Setup {
        addr: String,
        #[source]
        source: TlsSetupError,
    },
    #[error("cannot get a database credential")]
    Credential(#[source] VaultError),
    #[error("cannot reach Postgres at `{addr}`")]
    Unreachable {
        addr: String,
        #[source]
        source: io::Error,
    },
    #[error("Postgres at `{addr}` did not answer within {} s", after.as_secs_f64())]
    Timeout { addr: String, after: Duration },
    #[error("Postgres at `{addr}` does not offer TLS")]
    Plaintext { addr: String },
    #[error("Postgres at `{addr}` is not trusted as `{server_name}`: {problem}")]
    Tls {
        addr: String,
        server_name: String,
        problem: TlsProblem,
        #[source]
        source: io::Error,
    },
    /// It does not have the login's verifier, so it is another server.
    #[error("Postgres at `{addr}` did not prove that it knows the password of the login")]
    Unproven {
        addr: String,
        #[source]
        source: io::Error,
    },
    /// The connection ended during the login, or the server did not keep to the protocol.
    #[error("the login to Postgres at `{addr}` broke")]
    LoginBroke {
        addr: String,
        #[source]
        source: io::Error,
    },
    #[error("Postgres at `{addr}` refuses the login `{login}`")]
    Login {
        addr: String,
        login: String,
        role: DbRole,
        #[source]
        source: Statement,
    },
    #[error("Postgres at `{addr}` has no database `{name}`")]
    NoDatabase {
        addr: String,
        name: String,
        #[source]
        source: Statement,
    },
    #[error("Postgres at `{addr}` has no free connection")]
    TooManyConnections {
        addr: String,
        #[source]
        source: Statement,
    },
    #[error("all {size} connections were busy for {} s", after.as_secs_f64())]
    Busy { size: usize, after: Duration },
    #[error("the connections to Postgres are closed")]
    Closed,
    /// The server, an administrator or the end of a lease closed the connection. Statements that
    /// were not committed had no effect; the outcome of a COMMIT in progress is unknown.
    #[error("the connection to Postgres broke")]
    Broken(#[source] Statement),
    #[error("the database schema lacks something that this version needs")]
    SchemaTooOld(#[source] Statement),
    /// A migration removed something that this program still uses.
    #[error(
        "schema version {schema_version} needs a newer `{program}`: it requires protocol {needs}, and this program has {has}"
    )]
    ProgramTooOld {
        program: Program,
        schema_version: u32,
        needs: u32,
        has: u32,
    },
    #[error("the database refuses permission")]
    Denied(#[source] Statement),
    #[error("the host is not in the inventory")]
    NotInInventory(#[source] Statement),
    #[error("a statement failed")]
    Failed(#[source] Statement),
}

/// An error of tokio-postgres, with Postgres' whole message in one line.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.0))]
pub struct Statement(pub tokio_postgres::Error);

fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let mut text = format!("{} (SQLSTATE {})", db.message(), db.code().code());
        if let Some(detail) = db.detail() {
            text.push_str(": ");
            text.push_str(detail);
        }
        return text;
    }
    // The causes are part of this line, so they are not listed again below it.
    WithCauses(error).to_string()
}

/// Sorts the error of a statement on an open connection.
impl From<tokio_postgres::Error> for PgError {
    fn from(error: tokio_postgres::Error) -> Self {
        let broken = error.is_closed() || is_io(&error);
        let code = error.code().cloned();
        let statement = Statement(error);
        let Some(code) = code else {
            return if broken {
                Self::Broken(statement)
            } else {
                Self::Failed(statement)
            };
        };
        match code {
            SqlState::UNDEFINED_FUNCTION
            | SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_COLUMN
            | SqlState::INVALID_SCHEMA_NAME => Self::SchemaTooOld(statement),
            SqlState::INSUFFICIENT_PRIVILEGE => Self::Denied(statement),
            SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
                Self::Broken(statement)
            }
            code if code.code() == NOT_IN_INVENTORY => Self::NotInInventory(statement),
            // Class 08: connection exceptions.
            code if code.code().starts_with("08") => Self::Broken(statement),
            _ => Self::Failed(statement),
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let source = error.source();
    source.is_some_and(<dyn Error>::is::<io::Error>)
}

impl PgError {
    /// Returns Postgres' own error, if it sent one.
    pub fn db_error(&self) -> Option<&DbError> {
        match self {
            Self::Login { source, .. }
            | Self::NoDatabase { source, .. }
            | Self::TooManyConnections { source, .. }
            | Self::Broken(source)
            | Self::SchemaTooOld(source)
            | Self::Denied(source)
            | Self::NotInInventory(source)
            | Self::Failed(source) => source.0.as_db_error(),
            _ => None,
        }
    }

    /// Returns whether the same request may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Credential(error) => error.is_retryable(),
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::TooManyConnections { .. }
            | Self::Busy { .. }
            | Self::LoginBroke { .. }
            | Self::Broken(_) => true,
            Self::Failed(source) => source.0.code().is_some_and(|code| {
                // Serialization failures and deadlocks, lack of resources, intervention by an
                // operator.
                ["40", "53", "57"].contains(&&code.code()[..2])
                    || *code == SqlState::LOCK_NOT_AVAILABLE
            }),
            _ => false,
        }
    }

    /// Returns whether the login itself has no connection left, and not the server or the database.
    pub(super) fn is_limit_of_login(&self) -> bool {
        // All three have one SQLSTATE, and Postgres translates its messages.
        let routine = self.db_error().and_then(DbError::routine);
        matches!(self, Self::TooManyConnections { .. })
            && routine == Some("InitializeSessionUserId")
    }

    /// Returns whether Postgres is unavailable now and may serve later without any change: it is
    /// unreachable, has no free connection, or no login can be had from Vault. A command that has a
    /// cache or an outbox then uses it. All commands must use this one decision, for lookups and
    /// for recording.
    pub fn is_away(&self) -> bool {
        self.is_retryable()
    }

    /// Returns whether Postgres refuses the values of the statement, so that it will refuse them again: data, a
    /// constraint, or a limit of the program.
    pub fn is_about_values(&self) -> bool {
        let Self::Failed(source) = self else {
            return false;
        };
        let code = source.0.code();
        let classes = ["22", "23", "54"];
        code.is_none_or(|code| classes.iter().any(|class| code.code().starts_with(class)))
    }

    /// Returns whether Vault is the part that is unavailable. In that case the user's rights are
    /// unknown.
    pub fn is_vault_away(&self) -> bool {
        let Self::Credential(error) = self else {
            return false;
        };
        matches!(
            error,
            VaultError::Unreachable { .. } | VaultError::Timeout { .. } | VaultError::Sealed { .. }
        )
    }

    /// Returns the next step for the user.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Setting { .. } => return None,
            Self::Setup { .. } => {
                "`VCTL_DB_CA_CERT` names a PEM file with the authority of the database's certificate".to_owned()
            }
            Self::Credential(error) => return error.hint(),
            Self::Unreachable { .. } | Self::Timeout { .. } => {
                "check `VCTL_DB_HOST`, `VCTL_DB_PORT` and the network, and that Postgres runs".to_owned()
            }
            Self::Plaintext { .. } => {
                "check `VCTL_DB_HOST` and `VCTL_DB_PORT`; if Postgres is there, set `ssl = on` in its postgresql.conf: vctl sends nothing without TLS".to_owned()
            }
            Self::Tls { problem, .. } => tls_hint(*problem).to_owned(),
            Self::Unproven { .. } => {
                "the server has a trusted certificate, but is not the server of this login: compare `VCTL_DB_HOST` and `VCTL_DB_PORT` with Vault's database connection".to_owned()
            }
            Self::Login { .. } => {
                "Vault may create its logins on another server: compare `VCTL_DB_HOST` and `VCTL_DB_PORT` with Vault's database connection".to_owned()
            }
            Self::NoDatabase { .. } => {
                "check `VCTL_DB_NAME`; on a new server, a Postgres administrator has to create the database".to_owned()
            }
            Self::TooManyConnections { .. } | Self::Busy { .. } => "try again later".to_owned(),
            Self::Closed | Self::LoginBroke { .. } | Self::Broken(_) => "try again".to_owned(),
            Self::SchemaTooOld(_) => "the schema is older than this program: run `vctl migrate`".to_owned(),
            Self::ProgramTooOld { program, .. } => format!("install a newer {program} here"),
            Self::Denied(_) | Self::NotInInventory(_) | Self::Failed(_) => {
                return self.db_error()?.hint().map(str::to_owned);
            }
        })
    }
}

/// Returns the next step for a Postgres that is not trusted.
pub fn tls_hint(problem: TlsProblem) -> &'static str {
    match problem {
        TlsProblem::Authority => {
            "set `VCTL_DB_CA_CERT` to the PEM file of the authority that signed it"
        }
        TlsProblem::Name => {
            "set `VCTL_DB_SERVERNAME` to the name in its certificate, if it is the right server"
        }
        TlsProblem::Expired | TlsProblem::NotYetValid => {
            "check the clock of this machine; if it is right, Postgres needs a new certificate"
        }
        TlsProblem::NoTls | TlsProblem::Other => "check `VCTL_DB_HOST` and `VCTL_DB_PORT`",
    }
}
