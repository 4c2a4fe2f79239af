//! Messages for a channel whose receiver is full.
//!
//! The session loop must not wait for one channel. What a channel has no room for is queued here, and as long as
//! anything is queued, the window of the channel is not replenished: the queue never holds more than the window.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::{ChannelMsg, Error};

/// Pieces below this size are copied together, so that the window bounds the memory also of many small packets.
const SMALL: usize = 4096;

/// Above this many entries, small pieces are also copied behind earlier ones of their stream. RFC 4254 promises no
/// order between streams, and each entry costs more than the one byte that a packet may have.
const CROWDED: usize = 16 * 1024;

/// How many entries are looked at for an earlier piece of the same stream.
const LOOK_BACK: usize = 4;

/// The most entries: only a server that sends one byte after the other on many streams reaches it.
const MAX_ENTRIES: usize = 2 * CROWDED;

/// Messages without data are not bounded by the window.
const MAX_CONTROL_MESSAGES: usize = 1024;

#[derive(Debug)]
enum Queued {
    Data(Bytes, Option<u32>),
    Joined(BytesMut, Option<u32>),
    Other(Box<ChannelMsg>),
}

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    queue: VecDeque<Queued>,
    control_messages: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push(&mut self, msg: ChannelMsg) -> Result<(), Error> {
        match msg {
            ChannelMsg::Data { data } => self.push_data(data, None),
            ChannelMsg::ExtendedData { data, ext } => self.push_data(data, Some(ext)),
            other => {
                if self.control_messages == MAX_CONTROL_MESSAGES {
                    return Err(Error::Inconsistent);
                }
                self.control_messages += 1;
                self.queue.push_back(Queued::Other(Box::new(other)));
                Ok(())
            }
        }
    }

    fn push_data(&mut self, data: Bytes, ext: Option<u32>) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        if data.len() >= SMALL {
            self.queue.push_back(Queued::Data(data, ext));
            return Ok(());
        }
        let crowded = self.queue.len() >= CROWDED;
        let look_back = if crowded { LOOK_BACK } else { 1 };
        for queued in self.queue.iter_mut().rev().take(look_back) {
            match queued {
                Queued::Joined(joined, same) if *same == ext => {
                    if !crowded && joined.len() + data.len() > SMALL {
                        break;
                    }
                    joined.extend_from_slice(&data);
                    return Ok(());
                }
                // Data keeps its place among what belongs to it: its own stream, EOF, the exit status.
                Queued::Data(_, same) if *same == ext => break,
                Queued::Other(_) => break,
                Queued::Data(..) | Queued::Joined(..) => {}
            }
        }
        if self.queue.len() >= MAX_ENTRIES {
            return Err(Error::Inconsistent);
        }
        self.queue
            .push_back(Queued::Joined(BytesMut::from(&data[..]), ext));
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<ChannelMsg> {
        let (data, ext) = match self.queue.pop_front()? {
            Queued::Other(msg) => {
                self.control_messages -= 1;
                return Some(*msg);
            }
            Queued::Data(data, ext) => (data, ext),
            Queued::Joined(data, ext) => (data.freeze(), ext),
        };
        Some(match ext {
            None => ChannelMsg::Data { data },
            Some(ext) => ChannelMsg::ExtendedData { data, ext },
        })
    }

    /// Puts back what was popped last.
    pub(crate) fn unpop(&mut self, msg: ChannelMsg) {
        self.queue.push_front(match msg {
            ChannelMsg::Data { data } => Queued::Data(data, None),
            ChannelMsg::ExtendedData { data, ext } => Queued::Data(data, Some(ext)),
            other => {
                self.control_messages += 1;
                Queued::Other(Box::new(other))
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &'static str) -> ChannelMsg {
        let data = Bytes::from_static(text.as_bytes());
        ChannelMsg::Data { data }
    }

    fn extended(text: &'static str, ext: u32) -> ChannelMsg {
        let data = Bytes::from_static(text.as_bytes());
        ChannelMsg::ExtendedData { data, ext }
    }

    fn drain(backlog: &mut Backlog) -> Vec<String> {
        let popped = std::iter::from_fn(|| backlog.pop());
        let shown = popped.map(|msg| match msg {
            ChannelMsg::Data { data } => String::from_utf8_lossy(&data).into_owned(),
            ChannelMsg::ExtendedData { data, ext } => {
                format!("{ext}:{}", String::from_utf8_lossy(&data))
            }
            other => format!("{other:?}"),
        });
        shown.collect()
    }

    #[test]
    fn small_pieces_of_a_stream_are_joined_in_order() {
        let mut backlog = Backlog::default();
        for msg in [data("a"), data("b"), extended("c", 1), data("d"), ChannelMsg::Eof] {
            backlog.push(msg).unwrap();
        }
        assert_eq!(drain(&mut backlog), ["ab", "1:c", "d", "Eof"]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn alternating_bytes_do_not_take_an_entry_each() {
        let mut backlog = Backlog::default();
        for _ in 0..1_000_000 {
            backlog.push(data("a")).unwrap();
            backlog.push(extended("b", 1)).unwrap();
        }
        assert!(backlog.queue.len() <= CROWDED + LOOK_BACK);
        let all = drain(&mut backlog).concat();
        assert_eq!(all.matches('a').count(), 1_000_000);
        assert_eq!(all.matches('b').count(), 1_000_000);
    }

    #[test]
    fn nothing_is_unbounded() {
        let mut backlog = Backlog::default();
        let pushed = (0..).take_while(|_| backlog.push(ChannelMsg::Success).is_ok());
        assert_eq!(pushed.count(), MAX_CONTROL_MESSAGES);
        let mut backlog = Backlog::default();
        let pushed = (0..).take_while(|n| backlog.push(extended("a", *n)).is_ok());
        assert_eq!(pushed.count(), MAX_ENTRIES);
    }
}
