//! Queries for the access log.

use std::net::IpAddr;

use futures_util::future::join;
use postgres_types::{Json, ToSql, Type};
use serde::Deserialize;
use uuid::Uuid;
use vctl_common::event::ExitStatus;
use vctl_common::id::SessionId;
use vctl_common::person::Person;
use vctl_common::pg::tokio_postgres::{GenericClient, Row};

use crate::audit::model::{Access, AccessFilter, Hop, OnHost};
use crate::centre::instant::Instant;
use crate::error::Stop;
use crate::session::centre::sessions::{SessionQuery, look_up};
use crate::session::centre::{Store, failed, snapshot};
use crate::session::model::Filter;
use crate::session::model::ListedSession;
use crate::ui::sanitize;

impl Store {
    /// Returns the newest accesses that match; `limit` 0 is no limit.
    pub(crate) async fn accesses(
        &mut self,
        filter: &AccessFilter,
        limit: usize,
    ) -> Result<Vec<Access>, Stop> {
        let client = self.client().await?;
        let rows = look_up_accesses(&**client, filter, at_most(limit), None).await?;
        Ok(self.readable(rows))
    }

    /// Like [`accesses`](Self::accesses). Also searches the newest login that the first `shown` of them do not explain;
    /// this search may fail where the list does not. `shown` 0 is all.
    pub(crate) async fn accesses_and_unexplained(
        &mut self,
        filter: &AccessFilter,
        limit: usize,
        shown: usize,
    ) -> Result<(Vec<Access>, Result<Option<ListedSession>, Stop>), Stop> {
        let client = self.client().await?;
        let (limit, shown) = (at_most(limit), at_most(shown));
        // Both are sent before an answer: one round trip.
        let rows = look_up_accesses(&**client, filter, limit, None);
        let (rows, unexplained) = join(rows, look_up_unexplained(&**client, filter, shown)).await;
        let accesses = self.readable(rows?);
        let unexplained = match unexplained {
            Ok(Some(id)) => self
                .listed(&**client, vec![id])
                .await
                .map(|mut listed| listed.pop()),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        Ok((accesses, unexplained))
    }

    /// Returns the accesses that can be read, and notes the others: one unreadable row must not make the whole list fail.
    fn readable(&mut self, rows: Vec<Result<(i64, Access), String>>) -> Vec<Access> {
        let mut accesses = Vec::new();
        for row in rows {
            match row {
                Ok((_, access)) => accesses.push(access),
                Err(note) => self.notes.push(note),
            }
        }
        self.recent.change(|recent| {
            let serials = accesses.iter().filter_map(|access| access.serial);
            recent.record_sessions(serials.map(|serial| serial.to_string()));
            let people = accesses
                .iter()
                .map(|access| access.person.name().to_owned());
            recent.record_people(people);
        });
        accesses
    }

    /// Returns the newest logins without a matching row in the access log; `limit` 0 is no limit.
    pub(crate) async fn logins_without_access(
        &mut self,
        filter: &AccessFilter,
        limit: usize,
    ) -> Result<Vec<ListedSession>, Stop> {
        let mut client = self.client().await?;
        let transaction = snapshot(&mut client).await?;
        let limit = at_most(limit);
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&filter.host, Type::TEXT),
            (&filter.user, Type::TEXT),
            (&filter.source_ip, Type::INET),
            (&filter.since, Type::TIMESTAMPTZ),
            (&filter.until, Type::TIMESTAMPTZ),
            (&limit, Type::INT8),
        ];
        let statement = concat!(
            "with candidates as not materialized (select * from vctl.audit_session \
             where $4::timestamptz is null or opened_at >= $4)\n",
            include_str!("unexplained.sql"),
            "limit $6"
        );
        let rows = transaction.query_typed(statement, &parameters).await;
        let ids: Vec<Uuid> = rows.map_err(failed)?.iter().map(|row| row.get(0)).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.listed(&transaction, ids).await
    }

    /// Returns the sessions with these ids, and notes those that cannot be read.
    async fn listed(
        &mut self,
        client: &impl GenericClient,
        ids: Vec<Uuid>,
    ) -> Result<Vec<ListedSession>, Stop> {
        let all = Filter::default();
        let wanted = SessionQuery {
            ids: Some(ids),
            ..SessionQuery::new(None, &all)
        };
        let mut listed = Vec::new();
        for row in look_up(client, &wanted).await? {
            match row {
                Ok(found) => listed.push(found.listed()),
                Err(unreadable) => self.notes.push(format!("left out: {unreadable}")),
            }
        }
        Ok(listed)
    }
}

/// Runs `accesses.sql`. Returns the newest first, with their ids; the error is a note about a row that cannot be read.
pub(crate) async fn look_up_accesses(
    client: &impl GenericClient,
    filter: &AccessFilter,
    limit: Option<i64>,
    ids: Option<&[i64]>,
) -> Result<Vec<Result<(i64, Access), String>>, Stop> {
    let statement = concat!(include_str!("wanted.sql"), include_str!("accesses.sql"));
    let wanted = Wanted { filter, limit, ids };
    let rows = client.query_typed(statement, &wanted.parameters()).await;
    let read = |row: &Row| match access(row) {
        Some(access) => Ok((row.get(0), access)),
        None => Err(unreadable(row)),
    };
    Ok(rows.map_err(failed)?.iter().map(read).collect())
}

/// Returns the newest login that the access log does not explain, opened since the oldest access that the list shows, of
/// the newest thousand sessions. A list of failed requests has no logins, so nothing is searched.
async fn look_up_unexplained(
    client: &impl GenericClient,
    filter: &AccessFilter,
    limit: Option<i64>,
) -> Result<Option<Uuid>, Stop> {
    if filter.failed {
        return Ok(None);
    }
    let statement = concat!(
        include_str!("wanted.sql"),
        include_str!("candidates.sql"),
        include_str!("unexplained.sql"),
        "limit 1"
    );
    let wanted = Wanted {
        filter,
        limit,
        ids: None,
    };
    let row = client
        .query_typed_opt(statement, &wanted.parameters())
        .await;
    Ok(row.map_err(failed)?.map(|row| row.get(0)))
}

/// The parameters of `wanted.sql`.
struct Wanted<'a> {
    filter: &'a AccessFilter,
    limit: Option<i64>,
    ids: Option<&'a [i64]>,
}

impl Wanted<'_> {
    fn parameters(&self) -> [(&(dyn ToSql + Sync), Type); 8] {
        let filter = self.filter;
        [
            (&filter.host, Type::TEXT),
            (&filter.user, Type::TEXT),
            (&filter.source_ip, Type::INET),
            (&filter.since, Type::TIMESTAMPTZ),
            (&filter.until, Type::TIMESTAMPTZ),
            (&filter.failed, Type::BOOL),
            (&self.limit, Type::INT8),
            (&self.ids, Type::INT8_ARRAY),
        ]
    }
}

fn at_most(limit: usize) -> Option<i64> {
    i64::try_from(limit).ok().filter(|limit| *limit > 0)
}

/// An element of the column `hops`.
#[derive(Deserialize)]
struct HopRow {
    hostname: String,
    ca_fingerprint: Option<String>,
    cert_serial: Option<String>,
}

/// Returns the note about a row that is not shown.
fn unreadable(row: &Row) -> String {
    let (id, person): (i64, String) = (row.get(0), row.get(1));
    let person = sanitize::text(&person);
    format!("left out: access {id}, written by {person}, has a time that cannot be read")
}

/// Reads a row; `None` if one of its times is out of range.
fn access(row: &Row) -> Option<Access> {
    let opened_at = row.get::<_, Instant>(2).0?;
    let recorded_at = row.get::<_, Instant>(3).0?;
    let closed_at = match row.get::<_, Option<Instant>>(5) {
        Some(closed_at) => Some(closed_at.0?),
        None => None,
    };
    let person: String = row.get(1);
    let hops: Option<Json<Vec<HopRow>>> = row.get(23);
    let ids = |ids: Option<Vec<Uuid>>| {
        let ids = ids.unwrap_or_default().into_iter();
        ids.map(SessionId::from_uuid).collect()
    };
    let hop = |hop: HopRow| Hop {
        host: hop.hostname,
        ca_fingerprint: hop.ca_fingerprint,
        serial: hop.cert_serial.and_then(|serial| serial.parse().ok()),
    };
    Some(Access {
        person: Person::new(person),
        opened_at,
        recorded_at,
        replayed: row.get(4),
        closed_at,
        result: row.get(6),
        exit_code: row.get(7),
        error: row.get(8),
        host: row.get(9),
        login_user: row.get(10),
        target_addr: row.get::<_, Option<IpAddr>>(11),
        target_port: port(row.get(12)),
        jump_via: row.get(13),
        ca_fingerprint: row.get(14),
        serial: row
            .get::<_, Option<String>>(15)
            .and_then(|serial| serial.parse().ok()),
        key_id: row.get(16),
        command: row.get(17),
        source_ip: row.get(18),
        source_port: port(row.get(19)),
        client_host: row.get(20),
        client_user: row.get(21),
        vctl_version: row.get(22),
        hops: hops
            .map(|hops| hops.0)
            .unwrap_or_default()
            .into_iter()
            .map(hop)
            .collect(),
        sessions: ids(row.get(24)),
        contradicted: ids(row.get(25)),
        on_host: on_host(row),
    })
}

/// Reads the host's record of the end; `None` if the client knows the end.
fn on_host(row: &Row) -> Option<OnHost> {
    let sessions = row.get::<_, Option<i64>>(26)?;
    let ended_at = row.get::<_, Option<Instant>>(27).and_then(|at| at.0);
    let status = row.get::<_, Option<i32>>(28);
    let status = status.map(|status| ExitStatus::from_wait(status.cast_unsigned()));
    Some(match (sessions, ended_at, status) {
        (0, ..) => OnHost::Unknown,
        (_, None, _) => OnHost::Open,
        (_, Some(at), Some(ExitStatus::Code(code))) => OnHost::Exited { code, at },
        (_, Some(at), Some(ExitStatus::Signal { signal, .. })) => OnHost::Killed { signal, at },
        (_, Some(at), None) => OnHost::Ended { at },
    })
}

fn port(port: Option<i32>) -> Option<u16> {
    port.and_then(|port| u16::try_from(port).ok())
}
