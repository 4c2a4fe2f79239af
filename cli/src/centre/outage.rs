//! Notes about an outage of the central store for commands that run on: one at its start, and one at its end.

use crate::error::Stop;
use crate::ui::notice;

/// The state of the connection to the central store.
#[derive(Default)]
pub(crate) struct Outage {
    is_away: bool,
}

impl Outage {
    /// Notes that the store cannot be read, once. `activity` continues when the store is back.
    ///
    /// # Errors
    /// `stop`, if waiting does not help.
    pub(crate) fn begin(&mut self, stop: Stop, activity: &str) -> Result<(), Stop> {
        let Stop::Error(error) = &stop else {
            return Err(stop);
        };
        if !error.exit.is_transient() {
            return Err(stop);
        }
        if !std::mem::replace(&mut self.is_away, true) {
            notice::note(&format!(
                "the central store cannot be read: {}; {activity} continues when it is back",
                error.one_line()
            ));
        }
        Ok(())
    }

    /// Notes that the store can be read again, if it was away.
    pub(crate) fn end(&mut self) {
        if std::mem::take(&mut self.is_away) {
            notice::note("the central store can be read again");
        }
    }
}
