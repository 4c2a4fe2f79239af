//! Pauses after failures, and the log lines at the beginning and the end of an outage.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{debug, info, warn};
use vctl_common::backoff::Backoff;

use super::progress::Progress;

/// The pause after the first failure, and the longest one.
const FIRST: Duration = Duration::from_secs(1);
const LAST: Duration = Duration::from_mins(1);

/// Failures since the last success.
pub(super) struct Retry {
    backoff: Backoff,
    /// The problem that was logged last, until the next success.
    logged: Option<String>,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self {
            backoff: Backoff::new(FIRST, LAST),
            logged: None,
        }
    }

    /// Reports a failure, and waits before the next attempt, at least for `least`.
    pub(super) async fn failed(
        &mut self,
        text: String,
        least: Option<Duration>,
        progress: &Progress,
    ) {
        let wait = self.backoff.next_pause();
        let wait = least.map_or(wait, |least| wait.max(least));
        if self.logged.as_deref() == Some(text.as_str()) {
            debug!(error = text, "Shipping still does not work.");
        } else {
            self.logged = Some(text.clone());
            warn!(
                error = text,
                retry_in_s = wait.as_secs_f64(),
                "Shipping does not work; the records stay in the spool."
            );
        }
        progress.tell(|shipping| shipping.problem = Some(text));
        sleep(wait).await;
    }

    pub(super) fn works_again(&mut self) {
        if self.backoff.is_failing() {
            info!("Shipping works again.");
        }
        self.backoff.reset();
        self.logged = None;
    }
}
