//! Sends the accesses that were stored on this machine to the database that they belong to.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde_json::Value;
use vctl_common::pg::tokio_postgres::Transaction;
use vctl_common::pg::{Client, PgError};

use super::access_outbox::{FileContent, FinishedFile, Outbox, OutboxLine, finished};
use super::access_store;
use crate::error::CliError;
use crate::login::CentreId;
use crate::ui::notice;

/// Number of accesses per transaction. Their statements share round trips.
const BATCH: usize = 64;

/// Time after which no further transaction begins: the user waits for it. The next `vctl ssh` sends the others.
const LONGEST: Duration = Duration::from_millis(500);

/// Decision about the file of an access.
#[derive(Debug, PartialEq)]
enum Fate {
    Send(StoredAccess),
    /// It belongs to another person or another database.
    Keep,
    Remove,
    Refuse(&'static str),
}

/// A stored access as Postgres takes it.
#[derive(Clone, Debug, PartialEq)]
struct StoredAccess {
    beginning: Beginning,
    end: Option<Value>,
}

#[derive(Clone, Debug, PartialEq)]
enum Beginning {
    New(Value),
    /// Its row has this id.
    Row(i64),
}

/// A file with the access in it.
type Sendable = (FinishedFile, StoredAccess);

/// Returns the accesses of `person` that belong to the database of the outbox, at most one batch from the paths.
/// Files that never can be sent are moved or removed.
fn next_batch(
    outbox: &Outbox,
    person: &str,
    paths: &mut impl Iterator<Item = PathBuf>,
) -> Vec<Sendable> {
    let mut batch = Vec::new();
    for path in paths {
        let Some(file) = finished(path) else {
            continue;
        };
        match fate_of(&file.content, person, outbox.origin()) {
            Fate::Send(access) => batch.push((file, access)),
            Fate::Keep => {}
            Fate::Remove => {
                let _ = fs::remove_file(&file.path);
            }
            Fate::Refuse(why) => refuse(outbox, &file, why),
        }
        if batch.len() == BATCH {
            break;
        }
    }
    batch
}

/// Sends the accesses of `person`. Those of other people and of other databases stay. `connect` is called only if there
/// is one to send.
///
/// # Errors
/// Postgres is unavailable, or refuses all accesses. If it refuses the values of one, that is a notice, and the others are
/// sent.
pub(super) async fn replay(
    outbox: &Outbox,
    person: &str,
    connect: impl AsyncFnOnce() -> Result<Client, PgError>,
) -> Result<(), PgError> {
    let started = Instant::now();
    let mut paths = outbox.files().into_iter();
    outbox.remove_unfinished();
    let mut batch = next_batch(outbox, person, &mut paths);
    if batch.is_empty() {
        return Ok(());
    }
    let mut client = connect().await?;
    while !batch.is_empty() {
        let accesses: Vec<&StoredAccess> = batch.iter().map(|(_, access)| access).collect();
        match send(&mut client, person, &accesses).await {
            Ok(()) => remove(&batch),
            Err(error) if !error.is_about_values() => return Err(error),
            Err(_) => one_by_one(outbox, &mut client, person, &batch).await?,
        }
        if started.elapsed() > LONGEST {
            break;
        }
        batch = next_batch(outbox, person, &mut paths);
    }
    Ok(())
}

/// Sends the accesses of a batch that Postgres refused. Without this, one of them would hold up all others for ever.
async fn one_by_one(
    outbox: &Outbox,
    client: &mut Client,
    person: &str,
    batch: &[Sendable],
) -> Result<(), PgError> {
    for sendable in batch {
        match send(client, person, &[&sendable.1]).await {
            Ok(()) => remove(std::slice::from_ref(sendable)),
            Err(error) if !error.is_about_values() => return Err(error),
            Err(error) => {
                let why = CliError::from(error).one_line();
                refuse(outbox, &sendable.0, &why);
            }
        }
    }
    Ok(())
}

fn remove(batch: &[Sendable]) {
    for (file, _) in batch {
        let _ = fs::remove_file(&file.path);
    }
}

fn refuse(outbox: &Outbox, file: &FinishedFile, why: &str) {
    let refused = match outbox.refuse(&file.path) {
        Ok(path) => format!("is now in `{}`", path.display()),
        Err(error) => format!("`{}` cannot be moved: {error}", file.path.display()),
    };
    notice::note(&format!(
        "an access stored on this machine cannot be sent to Postgres, and {refused}: {why}"
    ));
}

/// Decides what happens to the file of an access. `origin` is the database that this process uses.
fn fate_of(content: &FileContent, person: &str, origin: &CentreId) -> Fate {
    let lines = match content {
        FileContent::Lines(lines) => lines,
        FileContent::Incomplete => return Fate::Remove,
        FileContent::Unreadable => return Fate::Refuse("vctl cannot read it"),
    };
    let end = match lines.get(1) {
        Some(OutboxLine::Ended { at, end }) => {
            let mut end = end.clone();
            end["closed_at"] = Value::String(at.to_string());
            Some(end)
        }
        _ => None,
    };
    let is_own = |whose: &String, of: &Option<CentreId>| {
        whose == person && of.as_ref().is_none_or(|of| of == origin)
    };
    let beginning = match lines.first() {
        // Without an origin, a wrong database gets a row too many at most. That is better than a lost record.
        Some(OutboxLine::Opened {
            person,
            origin,
            at,
            access,
        }) if is_own(person, origin) => {
            let mut access = access.clone();
            access["opened_at"] = Value::String(at.to_string());
            Beginning::New(access)
        }
        Some(OutboxLine::Stored { person, origin, id }) if is_own(person, origin) => {
            if origin.is_none() {
                // The id may be that of another access in this database.
                return Fate::Refuse("it does not name its database");
            }
            Beginning::Row(*id)
        }
        Some(OutboxLine::Ended { .. }) | None => return Fate::Refuse("vctl cannot read it"),
        Some(_) => return Fate::Keep,
    };
    Fate::Send(StoredAccess { beginning, end })
}

/// Writes the accesses in one transaction: after a partial write, a whole access would be sent again.
async fn send(
    client: &mut Client,
    person: &str,
    accesses: &[&StoredAccess],
) -> Result<(), PgError> {
    let client: &mut vctl_common::pg::tokio_postgres::Client = client;
    let transaction = client.transaction().await?;
    // The statements of all accesses are sent before their answers are awaited.
    let ids = accesses
        .iter()
        .map(|access| id_of(&transaction, person, &access.beginning));
    let ids = try_join_all(ids).await?;
    let ended = accesses.iter().zip(ids);
    let ends = ended.filter_map(|(access, id)| Some((id, access.end.as_ref()?)));
    let closing = ends.map(|(id, end)| access_store::close(&transaction, person, id, end));
    try_join_all(closing).await?;
    transaction.commit().await?;
    Ok(())
}

async fn id_of(
    transaction: &Transaction<'_>,
    person: &str,
    beginning: &Beginning,
) -> Result<i64, PgError> {
    match beginning {
        Beginning::New(access) => access_store::open(transaction, person, access).await,
        Beginning::Row(id) => Ok(*id),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn origin(database: &str) -> CentreId {
        let origin = json!({"addr": "https://vault", "namespace": null, "database": database});
        serde_json::from_value(origin).unwrap()
    }

    fn lines(first: Value) -> FileContent {
        let ended = json!({"ended": {"at": "2026-01-01T00:00:01Z", "end": {"result": "ok"}}});
        let lines = [first, ended].map(|line| serde_json::from_value(line).unwrap());
        FileContent::Lines(lines.into())
    }

    #[test]
    fn an_access_goes_only_to_its_own_database() {
        let here = origin("here:5432/vctl");
        let opened = |of: Option<&CentreId>, person: &str| {
            let opened =
                json!({"person": person, "origin": of, "at": "2026-01-01T00:00:00Z", "access": {}});
            fate_of(&lines(json!({ "opened": opened })), "p", &here)
        };
        let stored = |of: Option<&CentreId>| {
            let stored = json!({"person": "p", "origin": of, "id": 7});
            fate_of(&lines(json!({ "stored": stored })), "p", &here)
        };
        let there = origin("there:5432/vctl");
        assert!(matches!(opened(Some(&here), "p"), Fate::Send(_)));
        assert_eq!(opened(Some(&there), "p"), Fate::Keep);
        assert_eq!(opened(Some(&here), "q"), Fate::Keep);
        assert!(matches!(stored(Some(&here)), Fate::Send(_)));
        assert_eq!(stored(Some(&there)), Fate::Keep);
        // An older vctl wrote no origin: an id of another database would close a foreign row.
        assert!(matches!(opened(None, "p"), Fate::Send(_)));
        assert!(matches!(stored(None), Fate::Refuse(_)));
    }

    #[test]
    fn the_times_of_this_machine_are_sent() {
        let here = origin("here:5432/vctl");
        let opened =
            json!({"person": "p", "at": "2026-01-01T00:00:00Z", "access": {"hostname": "h"}});
        let Fate::Send(access) = fate_of(&lines(json!({ "opened": opened })), "p", &here) else {
            panic!("not sent");
        };
        let wanted = json!({"hostname": "h", "opened_at": "2026-01-01T00:00:00Z"});
        assert_eq!(access.beginning, Beginning::New(wanted));
        let end = json!({"result": "ok", "closed_at": "2026-01-01T00:00:01Z"});
        assert_eq!(access.end, Some(end));
    }
}
