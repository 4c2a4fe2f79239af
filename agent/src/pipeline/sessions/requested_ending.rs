//! The state of a session that is being ended on request.

use std::collections::HashSet;
use std::time::Instant;

use vctl_common::wire::Mark;

use crate::end_request::EndRequest;

/// A request, and the processes that got a signal.
pub(super) struct RequestedEnding {
    pub(super) request: EndRequest,
    pub(super) mark: Mark,
    pub(super) begun: Instant,
    /// Processes that were asked to end, and those that were killed: pid and start.
    pub(super) asked: HashSet<(u32, u64)>,
    pub(super) killed: HashSet<(u32, u64)>,
    pub(super) problem: Option<String>,
}

impl RequestedEnding {
    pub(super) fn new(request: EndRequest, mark: Mark) -> Self {
        Self {
            request,
            mark,
            begun: Instant::now(),
            asked: HashSet::new(),
            killed: HashSet::new(),
            problem: None,
        }
    }
}
