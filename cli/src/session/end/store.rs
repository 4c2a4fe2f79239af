//! The calls of the database for a request: find the session, request its end, read the answer.

use std::time::{Duration, SystemTime};

use postgres_types::{Json, Type};
use serde::Deserialize;
use uuid::Uuid;
use vctl_common::id::SessionId;
use vctl_common::pg::tokio_postgres::Row;
use vctl_common::pg::{Client, PgError};

use crate::centre::instant::Instant;

/// A session that a request may name. All text of it is from its host.
#[derive(Clone, Debug)]
pub(crate) struct EndableSession {
    pub(crate) id: SessionId,
    pub(crate) host: String,
    pub(crate) login_user: String,
    /// Display name of the person, if one of our CAs signed the certificate.
    pub(crate) vault_user: Option<String>,
    pub(crate) key_id: Option<String>,
    pub(crate) opened_at: Option<SystemTime>,
    pub(crate) closed_at: Option<SystemTime>,
    /// Time since the last sign of the host in this boot; `None` if there was none.
    pub(crate) host_seen: Option<Duration>,
    /// Whether the host's agent has asked for requests in this boot.
    pub(crate) host_asks: bool,
}

impl EndableSession {
    /// Reads a row with the columns of `session_to_end_v1`.
    pub(crate) fn from_row(row: &Row) -> Result<Self, PgError> {
        let time = |at: Option<Instant>| at.and_then(|at| at.0);
        let seen: Option<f64> = row.try_get("host_seen_s")?;
        Ok(Self {
            id: SessionId::from_uuid(row.try_get::<_, Uuid>("id")?),
            host: row.try_get("hostname")?,
            login_user: row
                .try_get::<_, Option<String>>("login_user")?
                .unwrap_or_default(),
            vault_user: row.try_get("vault_user")?,
            key_id: row.try_get("key_id")?,
            opened_at: time(row.try_get("opened_at")?),
            closed_at: time(row.try_get("closed_at")?),
            host_seen: seen.map(|seen| Duration::try_from_secs_f64(seen).unwrap_or_default()),
            host_asks: row.try_get("host_asks")?,
        })
    }
}

/// The state of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestState {
    pub(crate) requested_by: String,
    pub(crate) requested_at: Option<SystemTime>,
    pub(crate) is_taken: bool,
    /// `None` until the host has answered.
    pub(crate) answer: Option<HostAnswer>,
}

/// The answer of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostAnswer {
    pub(crate) result: EndResult,
    pub(crate) signalled: u64,
    pub(crate) killed: u64,
    pub(crate) remaining: Vec<RemainingProcess>,
    pub(crate) detached: Vec<SessionId>,
    pub(crate) problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndResult {
    Ended,
    Remaining,
    Refused,
    Gone,
    Expired,
    /// A word that this version does not know.
    Other,
}

/// A process of the session that is left.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct RemainingProcess {
    pub(crate) pid: u32,
    pub(crate) name: Option<String>,
    pub(crate) state: Option<String>,
}

/// Returns the sessions whose ids are within the range.
pub(crate) async fn sessions(
    client: &Client,
    (first, last): (SessionId, SessionId),
) -> Result<Vec<EndableSession>, PgError> {
    let query = include_str!("sessions.sql");
    let parameters: [(&(dyn postgres_types::ToSql + Sync), Type); 2] = [
        (&first.as_uuid(), Type::UUID),
        (&last.as_uuid(), Type::UUID),
    ];
    let rows = client.query_typed(query, &parameters).await?;
    rows.iter().map(EndableSession::from_row).collect()
}

/// Requests the end of a session. Returns the request, and whether it is new: an open request of the same session
/// stays the only one.
pub(crate) async fn request(
    client: &Client,
    display_name: &str,
    session: SessionId,
    reason: Option<&str>,
) -> Result<(i64, bool), PgError> {
    let parameters: [(&(dyn postgres_types::ToSql + Sync), Type); 3] = [
        (&display_name, Type::TEXT),
        (&session.as_uuid(), Type::UUID),
        (&reason, Type::TEXT),
    ];
    let rows = client
        .query_typed(include_str!("request.sql"), &parameters)
        .await?;
    let row = rows.first();
    let request = row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    request.unwrap_or(Ok((0, false)))
}

/// Returns whether a request failed because the session has ended.
pub(crate) fn is_over(error: &PgError) -> bool {
    error
        .db_error()
        .is_some_and(|db| db.code().code() == "P0002")
}

/// Returns the state of a request; `None` if the request does not exist.
pub(crate) async fn state(client: &Client, request: i64) -> Result<Option<RequestState>, PgError> {
    let rows = client
        .query_typed(include_str!("state.sql"), &[(&request, Type::INT8)])
        .await?;
    rows.first().map(request_state).transpose()
}

fn request_state(row: &Row) -> Result<RequestState, PgError> {
    let number = |name| -> Result<u64, PgError> {
        let number: Option<i32> = row.try_get(name)?;
        Ok(u64::try_from(number.unwrap_or(0)).unwrap_or(0))
    };
    let result: Option<&str> = row.try_get("result")?;
    let answer = match result {
        None => None,
        Some(result) => {
            let remaining: Option<Json<Vec<RemainingProcess>>> = row.try_get("remaining")?;
            let detached: Option<Vec<Uuid>> = row.try_get("detached")?;
            let detached = detached.unwrap_or_default().into_iter();
            Some(HostAnswer {
                result: EndResult::from_word(result),
                signalled: number("signalled")?,
                killed: number("killed")?,
                remaining: remaining.map(|Json(left)| left).unwrap_or_default(),
                detached: detached.map(SessionId::from_uuid).collect(),
                problem: row.try_get("problem")?,
            })
        }
    };
    let requested_at: Instant = row.try_get("requested_at")?;
    let taken_at: Option<Instant> = row.try_get("taken_at")?;
    Ok(RequestState {
        requested_by: row.try_get("requested_by")?,
        requested_at: requested_at.0,
        is_taken: taken_at.is_some(),
        answer,
    })
}

impl EndResult {
    fn from_word(word: &str) -> Self {
        match word {
            "ended" => Self::Ended,
            "remaining" => Self::Remaining,
            "refused" => Self::Refused,
            "gone" => Self::Gone,
            "expired" => Self::Expired,
            _ => Self::Other,
        }
    }
}
