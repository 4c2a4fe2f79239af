//! Requests of the centre to end a session, and the answers: between the shipper's thread and the collector's.

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use vctl_common::id::SessionId;

/// Requests, and answers, that may wait. The centre gives out at most as many requests before it has an answer.
const WAITING: usize = 64;
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

/// The collector's side.
#[derive(Debug)]
pub struct CollectorDesk {
    answers: mpsc::Sender<EndAnswer>,
    open_sessions: watch::Sender<usize>,
}

/// The shipper's side.
#[derive(Debug)]
pub struct ShipperDesk {
    pub requests: mpsc::Sender<EndRequest>,
    pub answers: mpsc::Receiver<EndAnswer>,
    /// Number of open sessions: without one, no request can concern this host.
    pub open_sessions: watch::Receiver<usize>,
}

/// Returns both sides, and the queue from which the collector's loop takes the requests.
pub fn desks() -> (CollectorDesk, ShipperDesk, mpsc::Receiver<EndRequest>) {
    let (requests, queue) = mpsc::channel(WAITING);
    let (answers, received) = mpsc::channel(WAITING);
    let (open, open_sessions) = watch::channel(0);
    let collector = CollectorDesk {
        answers,
        open_sessions: open,
    };
    let shipper = ShipperDesk {
        requests,
        answers: received,
        open_sessions,
    };
    (collector, shipper, queue)
}

impl CollectorDesk {
    /// Sends an answer to the shipper. Without a shipper the request stays open at the centre.
    pub fn answer(&self, answer: EndAnswer) {
        // Never full: the shipper has at most as many requests without an answer.
        let _ = self.answers.try_send(answer);
    }

    /// Notes how many sessions are open.
    pub fn note_open(&self, sessions: usize) {
        self.open_sessions.send_if_modified(|open| {
            let changes = *open != sessions;
            *open = sessions;
            changes
        });
    }
}
