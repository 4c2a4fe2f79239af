//! Groups, users and recorded changes, as the database has them.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// A group with its members and grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created_at: Option<SystemTime>,
    /// Whole display names.
    pub(crate) members: Vec<String>,
    /// As `COMMAND[:SCOPE]`.
    pub(crate) grants: Vec<String>,
}

/// A user who has logged in, or who is a member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Whole display name.
    pub(crate) display_name: String,
    /// `None` for a member who has never logged in with vctl.
    pub(crate) login: Option<LastLogin>,
    /// Groups besides `everyone`.
    pub(crate) groups: Vec<String>,
}

/// The last login of a user with vctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastLogin {
    pub(crate) at: Option<SystemTime>,
    /// By the database's clock.
    pub(crate) age: Duration,
    pub(crate) vctl_version: String,
}

/// A recorded change of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) id: i64,
    pub(crate) changed_at: Option<SystemTime>,
    /// Whole display name; `None` for a migration.
    pub(crate) changed_by: Option<String>,
    pub(crate) action: String,
    pub(crate) group: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

/// A filter of recorded changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangeFilter {
    pub(crate) group: Option<String>,
    /// A part of the name of the user who made the change, or who was added or removed.
    pub(crate) user: Option<String>,
    /// Maximum number; 0 is no limit.
    pub(crate) limit: usize,
}
