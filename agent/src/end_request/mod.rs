//! A request of the centre to end a session, and its answer.

pub mod channels;

use serde::Serialize;
use vctl_common::id::SessionId;

/// Limit of each list in an answer; the centre accepts no more.
pub const LISTED_MAX: usize = 64;

/// A request to end one session of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRequest {
    pub id: i64,
    pub session: SessionId,
    /// Whole display name of the person, proven by the centre.
    pub by: String,
    pub reason: Option<String>,
}

/// The answer to a request, as `answer_session_end_v1` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndAnswer {
    #[serde(skip)]
    pub request: i64,
    pub result: EndResult,
    /// Processes that got a signal, and those of them that had to be killed.
    pub signalled: usize,
    pub killed: usize,
    /// Processes of the session that are left, as far as they could be listed.
    pub remaining: Vec<RemainingProcess>,
    /// Open sessions of daemons that work for the session. They are not ended with it.
    pub detached: Vec<SessionId>,
    /// The reason why a process could not be signalled.
    pub problem: Option<String>,
}

impl EndAnswer {
    /// An answer without any signal.
    pub fn without_signal(request: i64, result: EndResult) -> Self {
        Self {
            request,
            result,
            signalled: 0,
            killed: 0,
            remaining: Vec::new(),
            detached: Vec::new(),
            problem: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndResult {
    /// No process of the session is left.
    Ended,
    Remaining,
    /// This host is configured to end no session.
    Refused,
    /// The session was over before.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemainingProcess {
    pub pid: u32,
    /// The task's name, which the user can choose.
    pub name: String,
    /// Its state in `/proc/<pid>/stat`: `D` is an uninterruptible wait.
    pub state: String,
}
