//! Delivery of messages to channels, none of which holds up the session.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::mpsc::{OwnedPermit, Sender};

use super::{Handler, Session};
use crate::channels::ChannelRef;
use crate::{ChannelId, ChannelMsg, Error};

type Permit = Result<OwnedPermit<ChannelMsg>, SendError<()>>;

/// Resolves once the receiver of a channel has room, or is gone.
pub(super) type Room = BoxFuture<'static, (ChannelId, Permit)>;

fn room(id: ChannelId, sender: Sender<ChannelMsg>) -> Room {
    async move { (id, sender.reserve_owned().await) }.boxed()
}

impl Session {
    /// Hands a message to its channel, or queues it where the receiver is full.
    pub(super) fn deliver(&mut self, id: ChannelId, msg: ChannelMsg) -> Result<(), Error> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        if !channel.backlog.is_empty() {
            return channel.backlog.push(msg);
        }
        if let Err(TrySendError::Full(msg)) = channel.sender.try_send(msg) {
            channel.backlog.push(msg)?;
            if !channel.backlog.is_empty() {
                self.waiting.push(room(id, channel.sender.clone()));
            }
        }
        Ok(())
    }

    /// Goes on with a channel whose receiver has room again.
    pub(super) fn deliver_backlog<H: Handler>(
        &mut self,
        client: &mut H,
        id: ChannelId,
        permit: Permit,
    ) -> Result<(), Error> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        match permit {
            Ok(permit) => {
                if let Some(msg) = channel.backlog.pop() {
                    permit.send(msg);
                }
                while let Some(msg) = channel.backlog.pop() {
                    match channel.sender.try_send(msg) {
                        Ok(()) => {}
                        Err(TrySendError::Closed(_)) => channel.backlog.clear(),
                        Err(TrySendError::Full(msg)) => {
                            channel.backlog.unpop(msg);
                            self.waiting.push(room(id, channel.sender.clone()));
                            return Ok(());
                        }
                    }
                }
            }
            Err(_) => channel.backlog.clear(),
        }
        self.replenish_window(client, id)?;
        self.forget_channel_if_delivered(id);
        Ok(())
    }

    pub(super) fn fits_window(&mut self, id: ChannelId, length: usize) -> bool {
        let encrypted = self.common.encrypted.as_mut();
        encrypted.is_some_and(|encrypted| encrypted.debit_window(id, length))
    }

    /// Lets the other side send more, unless there is a backlog.
    pub(super) fn replenish_window<H: Handler>(
        &mut self,
        client: &mut H,
        id: ChannelId,
    ) -> Result<(), Error> {
        let has_backlog = |channel: &ChannelRef| !channel.backlog.is_empty();
        if self.channels.get(&id).is_some_and(has_backlog) {
            return Ok(());
        }
        let target = self.common.config.window_size;
        let Some(encrypted) = self.common.encrypted.as_mut() else {
            return Ok(());
        };
        if encrypted.adjust_window_size(id, &[], target)? {
            let next_window = client.adjust_window(id, self.target_window_size);
            if next_window > 0 {
                self.target_window_size = next_window;
            }
        }
        Ok(())
    }

    /// Removes a channel that was closed, once it has got everything.
    pub(super) fn forget_channel_if_delivered(&mut self, id: ChannelId) {
        let encrypted = self.common.encrypted.as_ref();
        let is_open = encrypted.is_some_and(|encrypted| encrypted.channels.contains_key(&id));
        let delivered = |channel: &ChannelRef| channel.backlog.is_empty();
        if !is_open && self.channels.get(&id).is_some_and(delivered) {
            self.channels.remove(&id);
        }
    }

    /// Delivers what is still queued, without a session.
    pub(super) fn leave_backlogs(&mut self) {
        for (_, mut channel) in self.channels.drain() {
            if !channel.backlog.is_empty() {
                russh_util::runtime::spawn(async move {
                    while let Some(msg) = channel.backlog.pop() {
                        if channel.sender.send(msg).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    }
}
