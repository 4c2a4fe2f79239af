//! Queries for sessions.

use postgres_types::{ToSql, Type};
use uuid::Uuid;
use vctl_common::id::{CertSerial, SessionId};
use vctl_common::pg::tokio_postgres::{GenericClient, Row};

use super::row::{self, StoredSession, Unreadable};
use super::{Store, failed};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::session::model::{Filter, Prefix, Selector};

impl Store {
    /// Returns the sessions that match, newest first; `limit` 0 is no limit.
    pub(crate) async fn sessions(
        &mut self,
        selector: Option<Selector>,
        filter: &Filter,
        limit: usize,
        with_requests: bool,
    ) -> Result<Vec<StoredSession>, Stop> {
        let wanted = SessionQuery {
            filter,
            limit: i64::try_from(limit).ok().filter(|limit| *limit > 0),
            with_requests,
            ..SessionQuery::new(selector, filter)
        };
        let client = self.client().await?;
        let rows = look_up(&**client, &wanted).await?;
        let mut sessions = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                Ok(found) => sessions.push(found),
                Err(unreadable) if wanted.ids.is_some() => {
                    return Err(unreadable_error(&unreadable).into());
                }
                Err(unreadable) => self.note_unreadable(&unreadable),
            }
        }
        Ok(sessions)
    }

    /// Returns the ids that begin with `prefix`, oldest first.
    pub(super) async fn ids_like(
        &mut self,
        prefix: Prefix,
        limit: usize,
    ) -> Result<Vec<SessionId>, Stop> {
        let client = self.client().await?;
        let (first, last) = prefix.range();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (first, last) = (first.as_uuid(), last.as_uuid());
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&first, Type::UUID),
            (&last, Type::UUID),
            (&limit, Type::INT8),
        ];
        let rows = client
            .query_typed(include_str!("session_ids.sql"), &parameters)
            .await;
        let id = |row: &Row| SessionId::from_uuid(row.get(0));
        Ok(rows.map_err(failed)?.iter().map(id).collect())
    }

    /// Returns whether events of the session are stored, but its opening has not arrived.
    pub(super) async fn lacks_opening(&self, id: SessionId) -> Result<bool, Stop> {
        let client = self.client().await?;
        let query = include_str!("lacks_opening.sql");
        let id = id.as_uuid();
        let rows = client.query_typed(query, &[(&id, Type::UUID)]).await;
        let rows = rows.map_err(failed)?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }
}

/// The sessions to look up.
pub(crate) struct SessionQuery<'a> {
    pub(crate) ids: Option<Vec<Uuid>>,
    pub(crate) serial: Option<CertSerial>,
    pub(crate) filter: &'a Filter,
    pub(crate) limit: Option<i64>,
    pub(crate) with_requests: bool,
}

impl<'a> SessionQuery<'a> {
    pub(crate) fn new(selector: Option<Selector>, filter: &'a Filter) -> Self {
        let (ids, serial) = match selector {
            None => (None, None),
            Some(Selector::Serial(serial)) => (None, Some(serial)),
            Some(Selector::Id(id)) => (Some(vec![id.as_uuid()]), None),
        };
        Self {
            ids,
            serial,
            filter,
            limit: None,
            with_requests: true,
        }
    }
}

/// Runs `sessions.sql`. Returns the newest first.
pub(crate) async fn look_up(
    client: &impl GenericClient,
    wanted: &SessionQuery<'_>,
) -> Result<Vec<Result<StoredSession, Unreadable>>, Stop> {
    let serial = wanted.serial.map(|serial| serial.to_string());
    let Filter {
        host,
        user,
        since,
        until,
    } = wanted.filter;
    let parameters: [(&(dyn ToSql + Sync), Type); 8] = [
        (&wanted.ids, Type::UUID_ARRAY),
        (&serial, Type::TEXT),
        (host, Type::TEXT),
        (user, Type::TEXT),
        (since, Type::TIMESTAMPTZ),
        (until, Type::TIMESTAMPTZ),
        (&wanted.limit, Type::INT8),
        (&wanted.with_requests, Type::BOOL),
    ];
    let rows = client
        .query_typed(include_str!("sessions.sql"), &parameters)
        .await;
    let rows = rows.map_err(failed)?;
    Ok(rows.iter().map(row::stored_session).collect())
}

fn unreadable_error(unreadable: &Unreadable) -> CliError {
    CliError::new(Exit::Failure, "cannot show the session")
        .caused_by(unreadable)
        .hint("the host may run a newer agent: update `vctl`")
}
