//! The position of an export in the central store, as the checkpoint stores it.
//!
//! The backlog is what was stored before the export began. Later rows follow in their order of arrival
//! ([`Arrivals`]); `finished` lists the rows at or after the position that are already exported.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::arrivals::Arrivals;
use super::exported::{EndedSessions, ExportedParts};

/// Progress through what was stored before the export began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Backlog {
    /// The sessions up to this place are exported; `None` at the start.
    After(Option<BacklogPlace>),
    /// All sessions are exported, and the gaps up to this id.
    GapsAfter(i64),
    Exported,
}

/// The last session that was taken from the backlog. They are ordered by opening time, then by id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BacklogPlace {
    /// As Postgres writes it, so that nothing is rounded.
    pub(crate) opened_at: String,
    pub(crate) id: Uuid,
}

/// The position in the sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionCursor {
    pub(crate) arrivals: Arrivals,
    pub(crate) backlog: Backlog,
    /// Sessions whose end is not exported.
    pub(crate) open: BTreeMap<Uuid, ExportedParts>,
    /// Sessions with an end that was exported lately. Their hosts may record more of them.
    #[serde(default, skip_serializing_if = "EndedSessions::is_empty")]
    pub(crate) ended: EndedSessions,
    /// Sessions that could not be read, with their parts that were exported before. Each start tries them again: a
    /// later version of vctl may read them.
    pub(crate) unreadable: BTreeMap<Uuid, ExportedParts>,
    /// Sessions that arrived at or after `arrivals` and need no export any more, with their transactions.
    pub(crate) finished: BTreeMap<Uuid, u64>,
    /// The same for gaps.
    pub(crate) finished_gaps: BTreeMap<i64, u64>,
}

/// The position in the access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessCursor {
    pub(crate) arrivals: Arrivals,
    /// The last row that was taken from those stored before the export began; `None` once all are exported.
    pub(crate) backlog: Option<i64>,
    /// Changes that arrived at or after `arrivals` and are exported, with their transactions.
    pub(crate) finished: BTreeMap<i64, u64>,
}

impl SessionCursor {
    pub(crate) fn starting_at(arrivals: Arrivals) -> Self {
        Self {
            arrivals,
            backlog: Backlog::After(None),
            open: BTreeMap::new(),
            ended: EndedSessions::default(),
            unreadable: BTreeMap::new(),
            finished: BTreeMap::new(),
            finished_gaps: BTreeMap::new(),
        }
    }
}
