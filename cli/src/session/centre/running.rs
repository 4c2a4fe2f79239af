//! The sessions that run now, on all hosts.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use postgres_types::{ToSql, Type};
use uuid::Uuid;
use vctl_common::pg::tokio_postgres::Row;
use vctl_common::spool::Timeline;
use vctl_common::time::WallOffset;

use super::row::{StoredSession, boot_time};
use super::sessions::{SessionQuery, look_up};
use super::{Store, failed, snapshot};
use crate::centre::instant::Instant;
use crate::error::Stop;
use crate::session::model::running::RunningSession;
use crate::session::model::{Event, Filter};

impl Store {
    /// Returns the sessions without an end that match, newest first.
    pub(crate) async fn running(&mut self, filter: &Filter) -> Result<Vec<RunningSession>, Stop> {
        let mut client = self.client().await?;
        let transaction = snapshot(&mut client).await?;
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&filter.host, Type::TEXT), (&filter.user, Type::TEXT)];
        let rows = transaction
            .query_typed(include_str!("running.sql"), &parameters)
            .await;
        let rows = rows.map_err(failed)?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get("id")).collect();
        let all = Filter::default();
        let wanted = SessionQuery {
            ids: Some(ids),
            with_requests: false,
            ..SessionQuery::new(None, &all)
        };
        let found = look_up(&transaction, &wanted).await?;
        transaction.commit().await.map_err(failed)?;
        let rows: HashMap<Uuid, Row> = rows.into_iter().map(|row| (row.get("id"), row)).collect();
        let mut running = Vec::with_capacity(found.len());
        for session in found {
            match session {
                Ok(session) => {
                    let row = rows.get(&session.id().as_uuid());
                    running.extend(row.map(|row| with_last_command(&session, row)));
                }
                Err(unreadable) => self.note_unreadable(&unreadable),
            }
        }
        Ok(running)
    }
}

fn with_last_command(session: &StoredSession, row: &Row) -> RunningSession {
    let seen: Option<f64> = row.get("host_seen_s");
    RunningSession {
        listed: session.listed(),
        last_command: last_command(session, row),
        host_seen: seen.map(|seen| Duration::try_from_secs_f64(seen).unwrap_or_default()),
    }
}

fn last_command(session: &StoredSession, row: &Row) -> Option<Event> {
    let record: Option<&[u8]> = row.get("record");
    let at: Option<Instant> = row.get("at");
    let at = at.and_then(|at| at.0).unwrap_or(UNIX_EPOCH);
    let wall = WallOffset::from_ns(row.get::<_, Option<i64>>("wall_offset").unwrap_or_default());
    let mut timeline = Timeline::default();
    timeline.take_record(
        session.id(),
        wall,
        boot_time(session.record.wall, at),
        record?,
    );
    timeline.events.pop().map(Event::from)
}
