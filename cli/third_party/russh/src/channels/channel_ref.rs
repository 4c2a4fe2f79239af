use tokio::sync::mpsc::Sender;

use super::WindowSizeRef;
use super::backlog::Backlog;
use crate::ChannelMsg;

/// A handle to the [`super::Channel`]'s to be able to transmit messages
/// to it and update it's `window_size`.
#[derive(Debug)]
pub struct ChannelRef {
    pub(crate) sender: Sender<ChannelMsg>,
    pub(super) window_size: WindowSizeRef,
    /// What the receiver has no room for. Only clients use it.
    pub(crate) backlog: Backlog,
}

impl ChannelRef {
    pub fn new(sender: Sender<ChannelMsg>) -> Self {
        Self {
            sender,
            window_size: WindowSizeRef::new(0),
            backlog: Backlog::default(),
        }
    }

    pub(crate) fn window_size(&self) -> &WindowSizeRef {
        &self.window_size
    }
}

impl std::ops::Deref for ChannelRef {
    type Target = Sender<ChannelMsg>;

    fn deref(&self) -> &Self::Target {
        &self.sender
    }
}
