//! What an error of Postgres says about one batch. No I/O.

use vctl_common::pg::PgError;

/// Reach of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Postgres refuses this batch, and would refuse it again; or each attempt takes as long as a statement may.
    OfBatch,
    /// This attempt failed, and the next one may not: a deadlock or a lock.
    Now,
    /// No batch can be stored.
    OfEverything,
}

/// Returns the reach of an error.
pub(super) fn refusal(error: &PgError) -> Refusal {
    match error {
        PgError::NotInInventory(_) => Refusal::OfBatch,
        PgError::Failed(_) | PgError::Denied(_) => {
            error.db_error().map_or(Refusal::OfEverything, |db| {
                of_code(db.code().code(), db.where_().is_some())
            })
        }
        _ => Refusal::OfEverything,
    }
}

/// `in_function` says that a function of the schema raised the error.
fn of_code(code: &str, in_function: bool) -> Refusal {
    // `permission denied` comes from Postgres itself, `is of another host` from the function.
    if code == "42501" && !in_function {
        return Refusal::OfEverything;
    }
    let is = |classes: &[&str]| classes.iter().any(|class| code.starts_with(class));
    if is(&["22", "23", "54", "57014", "P0", "VC", "42501"]) {
        Refusal::OfBatch
    } else if is(&["40", "55P03"]) {
        Refusal::Now
    } else {
        Refusal::OfEverything
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_one_batch_stops_no_other_host() {
        // The last is statement_timeout: all hosts wait for each attempt.
        for code in ["22003", "23514", "54000", "VC002", "42501", "57014"] {
            assert_eq!(of_code(code, true), Refusal::OfBatch, "{code}");
        }
        // Deadlock, serialization, lock_timeout.
        for code in ["40P01", "40001", "55P03"] {
            assert_eq!(of_code(code, true), Refusal::Now, "{code}");
        }
        for (code, in_function) in [("42501", false), ("53100", true), ("57P01", true)] {
            assert_eq!(of_code(code, in_function), Refusal::OfEverything, "{code}");
        }
    }
}
