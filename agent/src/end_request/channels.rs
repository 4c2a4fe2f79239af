//! The channels for requests to end a session: between the shipper's thread and the collector's.

use tokio::sync::{mpsc, watch};

use super::{EndAnswer, EndRequest};

/// Requests, and answers, that may wait. The centre gives out at most as many requests before it has an answer.
const WAITING: usize = 64;

/// The collector's side.
#[derive(Debug)]
pub struct CollectorChannels {
    answers: mpsc::Sender<EndAnswer>,
    open_sessions: watch::Sender<usize>,
}

/// The shipper's side.
#[derive(Debug)]
pub struct ShipperChannels {
    pub requests: mpsc::Sender<EndRequest>,
    pub answers: mpsc::Receiver<EndAnswer>,
    /// Number of open sessions: without one, no request can concern this host.
    pub open_sessions: watch::Receiver<usize>,
}

/// Returns both sides, and the queue from which the collector's loop takes the requests.
pub fn channels() -> (
    CollectorChannels,
    ShipperChannels,
    mpsc::Receiver<EndRequest>,
) {
    let (requests, queue) = mpsc::channel(WAITING);
    let (answers, received) = mpsc::channel(WAITING);
    let (open, open_sessions) = watch::channel(0);
    let collector = CollectorChannels {
        answers,
        open_sessions: open,
    };
    let shipper = ShipperChannels {
        requests,
        answers: received,
        open_sessions,
    };
    (collector, shipper, queue)
}

impl CollectorChannels {
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
