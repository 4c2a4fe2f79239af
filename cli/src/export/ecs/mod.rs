//! Events with the field names of the Elastic Common Schema (ECS). `docs/export.md` has the table.
//!
//! OCSF was considered too. ECS has one name for a field in every kind of event, and Elastic, OpenSearch and Sigma
//! rules read it without a conversion. It also has kinds for a session and for a fault of the recording; OCSF's
//! `process_activity` does not. Fields without a name in ECS are below `vctl`.

pub(crate) mod access;
#[cfg(test)]
mod documented;
mod process;
pub(crate) mod session;
mod text;

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::ui::time;

/// Version of ECS whose names are used.
const ECS_VERSION: &str = "8.17.0";

/// One event of an export.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The same in each export, so that a receiver can drop an event that it has.
    pub(crate) id: String,
    pub(crate) time: SystemTime,
    /// `event.action`.
    pub(crate) action: &'static str,
    pub(crate) severity: Severity,
    /// The fields of ECS, as nested objects.
    pub(crate) document: Value,
}

/// The importance of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// `event.kind` is `event`.
    Event,
    /// `event.kind` is `alert`: facts contradict each other.
    Alert,
    /// `event.kind` is `pipeline_error`: the record is incomplete.
    Incomplete,
}

/// The event of a record, in the words of ECS.
pub(crate) struct Kind {
    pub(crate) id: String,
    pub(crate) action: &'static str,
    pub(crate) category: &'static str,
    /// `event.type`.
    pub(crate) phase: &'static str,
    /// `event.outcome`; `None` for events that have none.
    pub(crate) outcome: Option<&'static str>,
    pub(crate) dataset: &'static str,
    pub(crate) severity: Severity,
}

impl Record {
    /// Builds a record from fields, which must not contain `event.kind` and its like.
    pub(crate) fn new(kind: Kind, time: SystemTime, fields: Value) -> Self {
        let event_kind = match kind.severity {
            Severity::Event => "event",
            Severity::Alert => "alert",
            Severity::Incomplete => "pipeline_error",
        };
        let mut document = json!({
            "@timestamp": time::nanos(time),
            "ecs": { "version": ECS_VERSION },
            "event": {
                "kind": event_kind,
                "category": [kind.category],
                "type": [kind.phase],
                "action": kind.action,
                "outcome": kind.outcome,
                "id": kind.id,
                "module": "vctl",
                "dataset": kind.dataset,
            },
        });
        merge(&mut document, fields);
        prune(&mut document);
        Self {
            id: kind.id,
            time,
            action: kind.action,
            severity: kind.severity,
            document,
        }
    }

    /// Returns the size of the texts in the document.
    pub(crate) fn text_bytes(&self) -> usize {
        text_bytes(&self.document)
    }
}

fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.values().map(text_bytes).sum(),
        _ => 0,
    }
}

/// Adds the fields of `more`, object by object.
pub(crate) fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (name, value) in more {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// Removes fields without a value: null, `false`, and empty lists and objects. A receiver gives each name one type, and
/// a name without a value has none.
fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        let all = std::mem::take(fields).into_iter();
        let pruned = all.map(|(name, mut value)| {
            prune(&mut value);
            (name, value)
        });
        *fields = pruned
            .filter(|(_, value)| !is_empty(value))
            .collect::<Map<_, _>>();
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
