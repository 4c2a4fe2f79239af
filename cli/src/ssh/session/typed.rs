//! Queue of typed input that the host has not accepted yet.
//!
//! An escape must be able to end a connection that hangs, so the terminal is read even while the host accepts nothing.
//! Memory is bounded: above [`MOST`], input is lost if the queue does not move for [`PATIENCE`], as the kernel drops
//! input when a terminal's queue is full.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Maximum number of queued bytes.
const MOST: usize = 12 << 20;

/// Size of a piece, which single keys share.
const PIECE: usize = 16 << 10;

/// Time that a full queue may stand still before input is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// Result of adding input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// The queue is full, for the first time since it had room.
    Lost,
    StillNone,
}

#[derive(Debug, Default)]
pub(super) struct Typed {
    pieces: RefCell<VecDeque<BytesMut>>,
    length: Cell<usize>,
    /// Whether input is lost when the host accepts none for a while. Otherwise it waits.
    may_lose: bool,
    has_ended: Cell<bool>,
    loses: Cell<bool>,
    more: Notify,
    less: Notify,
}

impl Typed {
    /// Returns an empty queue; `is_terminal` is whether a user types the input.
    pub(super) fn new(is_terminal: bool) -> Self {
        Self {
            may_lose: is_terminal,
            ..Self::default()
        }
    }

    /// Adds input; waits for room while the host accepts some.
    pub(super) async fn push(&self, mut data: &[u8]) -> Room {
        while self.length.get() + data.len() > MOST {
            if self.loses.get() {
                return Room::StillNone;
            }
            if !self.may_lose {
                self.less.notified().await;
                continue;
            }
            if timeout(PATIENCE, self.less.notified()).await.is_err() {
                self.loses.set(true);
                return Room::Lost;
            }
        }
        self.loses.set(false);
        self.length.set(self.length.get() + data.len());
        let mut pieces = self.pieces.borrow_mut();
        while !data.is_empty() {
            let last = pieces.back_mut().filter(|last| last.len() < PIECE);
            let last = match last {
                Some(last) => last,
                None => pieces.push_back_mut(BytesMut::with_capacity(PIECE)),
            };
            let (now, later) = data.split_at(data.len().min(PIECE - last.len()));
            last.extend_from_slice(now);
            data = later;
        }
        self.more.notify_one();
        Room::Enough
    }

    pub(super) fn end(&self) {
        self.has_ended.set(true);
        self.more.notify_one();
    }

    /// Returns the next piece; `None` at the end.
    pub(super) async fn next(&self) -> Option<Bytes> {
        loop {
            let piece = self.pieces.borrow_mut().pop_front();
            if let Some(piece) = piece {
                return Some(piece.freeze());
            }
            if self.has_ended.get() {
                return None;
            }
            self.more.notified().await;
        }
    }

    /// Records that the host accepted this many bytes.
    pub(super) fn sent(&self, length: usize) {
        self.length.set(self.length.get().saturating_sub(length));
        self.less.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn input_keeps_its_order_in_any_pieces() {
        let typed = Typed::new(true);
        let mut wanted = Vec::new();
        for length in [1, 5, PIECE - 1, PIECE, PIECE + 1, 3] {
            let data: Vec<u8> = (0..=250).cycle().take(length).collect();
            assert_eq!(typed.push(&data).await, Room::Enough);
            wanted.extend(data);
        }
        typed.end();
        let mut all = Vec::new();
        while let Some(piece) = typed.next().await {
            all.extend(piece);
        }
        assert!(all == wanted);
    }

    #[tokio::test]
    async fn full_queue_loses_input_and_accepts_more_later() {
        let typed = Typed::new(true);
        let most = vec![b'x'; MOST];
        assert_eq!(typed.push(&most).await, Room::Enough);
        assert_eq!(typed.push(b"a").await, Room::Lost);
        assert_eq!(typed.push(b"b").await, Room::StillNone);
        let piece = typed.next().await.unwrap();
        typed.sent(piece.len());
        assert_eq!(typed.push(b"c").await, Room::Enough);
    }

    #[tokio::test]
    async fn input_of_a_file_is_never_dropped() {
        let typed = Typed::new(false);
        assert_eq!(typed.push(&vec![b'x'; MOST]).await, Room::Enough);
        let waiting = timeout(2 * PATIENCE, typed.push(b"rest"));
        assert!(waiting.await.is_err());
        let (pushed, ()) = tokio::join!(typed.push(b"rest"), async {
            let piece = typed.next().await.unwrap();
            typed.sent(piece.len());
        });
        assert_eq!(pushed, Room::Enough);
    }
}
