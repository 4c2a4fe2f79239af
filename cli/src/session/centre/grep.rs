//! Search for executed programs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postgres_types::{ToSql, Type};

use uuid::Uuid;
use vctl_common::id::SessionId;
use vctl_common::pg::tokio_postgres::error::SqlState;
use vctl_common::pg::tokio_postgres::{Row, Transaction};
use vctl_common::spool::Timeline;
use vctl_common::time::{BootNs, WallOffset};

use super::row::{StoredSession, unsigned};
use super::sessions::{SessionQuery, look_up};
use super::{Store, failed, snapshot};
use crate::centre::instant::Instant;
use crate::error::Stop;
use crate::session::model::grep::{
    GrepMatch, MOST_LINES, MOST_PRUNED, Pattern, Pruned, SearchResult,
};
use crate::session::model::program_filter::Ending;
use crate::session::model::{Event, Filter, Selector};
use crate::ui::time;

/// Maximum number of events that one search reads; about 15 seconds on a small server.
const MOST_EVENTS: i64 = 5_000_000;
/// Longest count of the sessions without their events: it may read all sessions, and a search is complete without it.
const LONGEST_COUNT: Duration = Duration::from_secs(5);
/// A row holds up to 128 KiB of arguments.
const CHUNK: i32 = 256;

impl Store {
    /// Searches the newest sessions first; `limit` 0 is no limit.
    pub(super) async fn search(
        &mut self,
        selector: Option<Selector>,
        filter: &Filter,
        pattern: &Pattern,
        limit: usize,
    ) -> Result<SearchResult, Stop> {
        let mut client = self.client().await?;
        let transaction = snapshot(&mut client).await?;
        let hits = search(&transaction, selector, filter, pattern, limit).await?;
        if let Some(beyond) = hits.beyond {
            self.notes.push(format!(
                "sessions opened up to {} were not searched: one search reads at most {MOST_EVENTS} events; \
                     use `--until` or `--since` to search others",
                time::seconds(beyond)
            ));
        }
        let matches = matches(&transaction, hits.sessions, &mut self.notes).await?;
        // Last: a count that takes too long ends the transaction.
        let pruned = pruned(&transaction, selector, filter).await?;
        transaction.commit().await.map_err(failed)?;
        self.notes.extend(pruned.note());
        Ok(SearchResult {
            matches,
            pruned: Some(pruned),
        })
    }
}

/// The serial or the id of a selector, as parameters.
fn selected(selector: Option<Selector>) -> (Option<String>, Option<Uuid>) {
    match selector {
        None => (None, None),
        Some(Selector::Serial(serial)) => (Some(serial.to_string()), None),
        Some(Selector::Id(id)) => (None, Some(id.as_uuid())),
    }
}

#[derive(Default)]
struct Hits {
    /// Newest first, with the matching events of each.
    sessions: Vec<(Uuid, Timeline)>,
    /// Opening time of the newest session that was not searched.
    beyond: Option<SystemTime>,
}

async fn search(
    transaction: &Transaction<'_>,
    selector: Option<Selector>,
    filter: &Filter,
    pattern: &Pattern,
    limit: usize,
) -> Result<Hits, Stop> {
    let (serial, id) = selected(selector);
    let lines = i64::try_from(MOST_LINES + 1).unwrap_or(i64::MAX);
    let forms = pattern.forms();
    let login_work = pattern.has_login_work();
    let programs = pattern.programs();
    let (like, root) = (programs.like(), programs.root);
    let (only_failed, code) = match programs.ending {
        None => (false, None),
        Some(Ending::Failed) => (true, None),
        Some(Ending::Code(code)) => (false, Some(i32::from(code))),
    };
    let parameters: [&(dyn ToSql + Sync); 14] = [
        &forms,
        &filter.host,
        &filter.user,
        &filter.since,
        &filter.until,
        &serial,
        &id,
        &MOST_EVENTS,
        &lines,
        &login_work,
        &like,
        &root,
        &only_failed,
        &code,
    ];
    let statement = transaction.prepare(include_str!("grep.sql")).await;
    let portal = transaction
        .bind(&statement.map_err(failed)?, &parameters)
        .await;
    let portal = portal.map_err(failed)?;
    let mut hits = Hits::default();
    loop {
        let rows = transaction.query_portal(&portal, CHUNK).await;
        let rows = rows.map_err(failed)?;
        for row in &rows {
            let id: Uuid = row.get(0);
            let is_new = hits.sessions.last().is_none_or(|(last, _)| *last != id);
            // The remaining rows are not fetched, so the server does not search for them either.
            if is_new && limit > 0 && hits.sessions.len() == limit {
                return Ok(hits);
            }
            if row.get(2) {
                hits.beyond = Some(row.get::<_, Instant>(1).0.unwrap_or(UNIX_EPOCH));
                return Ok(hits);
            }
            if is_new {
                hits.sessions.push((id, Timeline::default()));
            }
            if let Some((_, lines)) = hits.sessions.last_mut() {
                take_line(lines, SessionId::from_uuid(id), row);
            }
        }
        if rows.len() < CHUNK.unsigned_abs() as usize {
            return Ok(hits);
        }
    }
}

/// Counts the selected sessions without their first events, which retention has deleted.
async fn pruned(
    transaction: &Transaction<'_>,
    selector: Option<Selector>,
    filter: &Filter,
) -> Result<Pruned, Stop> {
    let (serial, id) = selected(selector);
    let most = i64::try_from(MOST_PRUNED).unwrap_or(i64::MAX);
    let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
        (&filter.host, Type::TEXT),
        (&filter.user, Type::TEXT),
        (&filter.since, Type::TIMESTAMPTZ),
        (&filter.until, Type::TIMESTAMPTZ),
        (&serial, Type::TEXT),
        (&id, Type::UUID),
        (&most, Type::INT8),
    ];
    let limit = format!(
        "set local statement_timeout = {}",
        LONGEST_COUNT.as_millis()
    );
    transaction.batch_execute(&limit).await.map_err(failed)?;
    let counting = transaction.query_typed_one(include_str!("grep_pruned.sql"), &parameters);
    let row = match counting.await {
        Ok(row) => row,
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
            return Ok(Pruned::UNCOUNTED);
        }
        Err(error) => return Err(failed(error)),
    };
    let sessions = unsigned(row.get(0));
    Ok(Pruned {
        sessions: sessions.min(MOST_PRUNED),
        more: sessions > MOST_PRUNED,
        oldest_day: row.get(1),
    })
}

fn take_line(lines: &mut Timeline, id: SessionId, row: &Row) {
    let offset = WallOffset::from_ns(row.get(5));
    lines.take_record(id, offset, BootNs(0), row.get(6));
}

async fn matches(
    transaction: &Transaction<'_>,
    hits: Vec<(Uuid, Timeline)>,
    notes: &mut Vec<String>,
) -> Result<Vec<GrepMatch>, Stop> {
    let filter = Filter::default();
    let wanted = SessionQuery {
        ids: Some(hits.iter().map(|(id, _)| *id).collect()),
        ..SessionQuery::new(None, &filter)
    };
    let mut found: Vec<StoredSession> = Vec::with_capacity(hits.len());
    for row in look_up(transaction, &wanted).await? {
        match row {
            Ok(row) => found.push(row),
            Err(unreadable) => notes.push(format!("left out: {unreadable}")),
        }
    }
    let matches = hits.into_iter().filter_map(|(id, mut lines)| {
        let found = found.iter().find(|found| found.id().as_uuid() == id)?;
        lines.put_in_order();
        let more = lines.events.len() > MOST_LINES;
        lines.events.truncate(MOST_LINES);
        Some(GrepMatch {
            session: found.session(),
            events: lines.events.into_iter().map(Event::from).collect(),
            more,
        })
    });
    Ok(matches.collect())
}
