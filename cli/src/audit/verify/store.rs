//! Queries for the certificates in the access log and in the recorded sessions.

use std::collections::HashSet;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::TryStreamExt as _;
use postgres_types::{ToSql, Type};
use uuid::Uuid;
use vctl_common::id::SessionId;
use vctl_common::pg::tokio_postgres::{Row, RowStream, Transaction};
use vctl_common::time::wall_now;

use super::model::{FailedAttempt, LoggedAccess, SeenSession, Span};
use super::names::Names;
use crate::centre::instant::Instant;
use crate::error::Stop;
use crate::retention::model::Period;
use crate::session::centre::{Store, failed, snapshot};

/// Time before the signing from which Vault's certificates are valid.
const BACKDATED: Duration = Duration::from_secs(30);
/// Maximum lifetime of a certificate that is accepted as the time of its signing.
const LIFETIME: Duration = Duration::from_hours(24);

/// Our CAs, and the time of which the store has records.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    pub(crate) fingerprints: Vec<String>,
    pub(crate) mounts: Vec<String>,
    /// Creation of the access log.
    pub(crate) since: Option<SystemTime>,
    /// Current time of the database.
    pub(crate) now: SystemTime,
}

impl Ours {
    /// Returns the time of which the store has every access, with this retention period.
    pub(crate) fn covered(&self, period: Period) -> Span {
        let kept = match period {
            Period::Days(days) => {
                let period = Duration::from_hours(24) * u32::from(days);
                self.now.checked_sub(period).unwrap_or(UNIX_EPOCH)
            }
            Period::Forever => UNIX_EPOCH,
        };
        Span {
            from: self.since.unwrap_or(UNIX_EPOCH).max(kept),
            to: self.now,
        }
    }
}

/// The records of the store.
#[derive(Debug, Default)]
pub(crate) struct StoredRecords {
    /// Ordered by serial.
    pub(crate) accesses: Vec<LoggedAccess>,
    /// Ordered by serial.
    pub(crate) sessions: Vec<SeenSession>,
    /// Ordered by person and time.
    pub(crate) attempts: Vec<FailedAttempt>,
    /// Number of certificates in access rows and of sessions that were not read, because they are too far away from the
    /// window.
    pub(crate) not_read: (u64, u64),
    /// Rows with a serial or a time that cannot be read.
    pub(crate) unreadable: Vec<String>,
}

impl Store {
    /// Returns our CAs.
    pub(crate) async fn our_cas(&mut self) -> Result<Ours, Stop> {
        let mut client = self.client().await?;
        let transaction = snapshot(&mut client).await?;
        let rows = transaction.query(include_str!("cas.sql"), &[]).await;
        let rows = rows.map_err(failed)?;
        let time = |row: &Row, index| row.get::<_, Option<Instant>>(index).and_then(|at| at.0);
        let first = rows.first();
        let text = |index: usize| {
            let texts = rows
                .iter()
                .filter_map(move |row| row.get::<_, Option<String>>(index));
            texts.collect()
        };
        Ok(Ours {
            fingerprints: text(0),
            mounts: text(1),
            since: first.and_then(|row| time(row, 2)),
            now: first.and_then(|row| time(row, 3)).unwrap_or_else(wall_now),
        })
    }

    /// Returns the records of `span`, and counts the others.
    pub(crate) async fn records_of(
        &mut self,
        ours: &Ours,
        span: Span,
        names: &mut Names,
    ) -> Result<StoredRecords, Stop> {
        let mut client = self.client().await?;
        let transaction = snapshot(&mut client).await?;
        let mut records = StoredRecords::default();
        let is_ours: HashSet<&str> = ours.fingerprints.iter().map(String::as_str).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [
            (&span.from, Type::TIMESTAMPTZ),
            (&span.to, Type::TIMESTAMPTZ),
        ];
        let rows = stream(&transaction, include_str!("accesses.sql"), &parameters).await?;
        let mut rows = pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            match access(&row, &is_ours, names) {
                Some(access) => records.accesses.push(access),
                None => records
                    .unreadable
                    .push(format!("access {}", row.get::<_, i64>(0))),
            }
        }
        let rows = stream(&transaction, include_str!("attempts.sql"), &parameters).await?;
        let mut rows = pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            records.attempts.extend(attempt(&row, names));
        }
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&ours.fingerprints, Type::TEXT_ARRAY),
            (&span.from, Type::TIMESTAMPTZ),
            (&span.to, Type::TIMESTAMPTZ),
        ];
        let rows = stream(&transaction, include_str!("sessions.sql"), &parameters).await?;
        let mut rows = pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            match session(&row, names) {
                Some(session) => records.sessions.push(session),
                None => records
                    .unreadable
                    .push(format!("session {}", row.get::<_, Uuid>(0))),
            }
        }
        let counts = transaction
            .query_typed(include_str!("outside.sql"), &parameters)
            .await;
        if let Some(row) = counts.map_err(failed)?.first() {
            let count = |index| u64::try_from(row.get::<_, i64>(index)).unwrap_or(0);
            records.not_read = (count(0), count(1));
        }
        records
            .accesses
            .sort_by_key(|access| (access.serial, access.at, access.id));
        records
            .attempts
            .sort_by_key(|attempt| (attempt.person, attempt.at));
        records
            .sessions
            .sort_by_key(|session| (session.serial, session.opened_at));
        Ok(records)
    }
}

/// Returns the rows of a query one after the other, so that they are not in memory at the same time.
async fn stream(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<RowStream, Stop> {
    let parameters = parameters
        .iter()
        .map(|(value, kind)| (*value, kind.clone()));
    transaction
        .query_typed_raw(sql, parameters)
        .await
        .map_err(failed)
}

fn access(row: &Row, is_ours: &HashSet<&str>, names: &mut Names) -> Option<LoggedAccess> {
    let ca: Option<&str> = row.get(3);
    let key_id: Option<&str> = row.get(5);
    Some(LoggedAccess {
        id: row.get(0),
        hop: row.get(1),
        serial: row.get::<_, &str>(2).parse().ok()?,
        is_ours: ca.is_some_and(|ca| is_ours.contains(ca)),
        ca: ca.map(|ca| names.of(ca)),
        person: names.of(row.get(4)),
        key_id: key_id.map(|key_id| names.of(key_id)),
        host: names.of(row.get(6)),
        at: row.get::<_, Instant>(7).0?,
    })
}

fn attempt(row: &Row, names: &mut Names) -> Option<FailedAttempt> {
    Some(FailedAttempt {
        id: row.get(0),
        person: names.of(row.get(1)),
        host: names.of(row.get(2)),
        at: row.get::<_, Instant>(3).0?,
    })
}

fn session(row: &Row, names: &mut Names) -> Option<SeenSession> {
    let opened_at = row.get::<_, Instant>(5).0?;
    let key_id: Option<&str> = row.get(3);
    Some(SeenSession {
        id: SessionId::from_uuid(row.get(0)),
        serial: row.get::<_, &str>(1).parse().ok()?,
        ca: names.of(row.get(2)),
        key_id: key_id.map(|key_id| names.of(key_id)),
        host: names.of(row.get(4)),
        opened_at,
        signed_at: signed_at(row.get(6), opened_at),
    })
}

/// Returns the time of signing, by Vault's clock, if the certificate has a plausible one.
fn signed_at(valid_after: Option<&str>, opened_at: SystemTime) -> SystemTime {
    let signed_at = valid_after
        .and_then(|text| text.parse().ok())
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .and_then(|valid_after| valid_after.checked_add(BACKDATED));
    let is_plausible = |at: &SystemTime| {
        let before = opened_at.duration_since(*at);
        before.map_or_else(
            |error| error.duration() < LIFETIME,
            |before| before < LIFETIME,
        )
    };
    signed_at.filter(is_plausible).unwrap_or(opened_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implausible_time_of_signing_is_ignored() {
        let opened_at = UNIX_EPOCH + Duration::from_hours(500_000);
        let signed = |text: &str| signed_at(Some(text), opened_at);
        let before = opened_at - Duration::from_mins(1) + BACKDATED;
        assert_eq!(signed("1799999940"), before);
        for text in [
            "",
            "null",
            "0",
            "1700000000",
            "1900000000",
            "99999999999999999999",
        ] {
            assert_eq!(signed(text), opened_at, "{text}");
        }
        assert_eq!(signed_at(None, opened_at), opened_at);
    }
}
