//! Notes about a log daemon that takes no lines: at most one a minute, with the number of lost lines.

use std::time::{Duration, Instant};

/// Minimum time between the notes of two outages. A daemon with a full queue takes single lines again and again.
const BETWEEN: Duration = Duration::from_mins(1);

/// The outages of the log daemon.
#[derive(Debug, Default)]
pub(super) struct Outages {
    noted_at: Option<Instant>,
    /// The present outage has a note.
    is_noted: bool,
    /// Lines that were lost after the last note.
    lost: u64,
}

impl Outages {
    /// Counts a lost line. Returns the number of lines for a note, if one is due.
    pub(super) fn lose(&mut self, now: Instant) -> Option<u64> {
        self.lost += 1;
        let is_early = self.noted_at.is_some_and(|at| now < at + BETWEEN);
        if self.is_noted || is_early {
            return None;
        }
        self.is_noted = true;
        self.noted_at = Some(now);
        Some(std::mem::take(&mut self.lost))
    }

    /// Ends the present outage. Returns the number of lines that it lost after its note, if it has one.
    pub(super) fn end(&mut self) -> Option<u64> {
        let was_noted = std::mem::take(&mut self.is_noted);
        was_noted.then(|| std::mem::take(&mut self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_of_one_minute_have_one_note() {
        let mut outages = Outages::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(outages.lose(at(0)), Some(1));
        assert_eq!(outages.lose(at(1)), None);
        assert_eq!(outages.end(), Some(1));
        for second in 2..60 {
            assert_eq!(outages.lose(at(second)), None);
            assert_eq!(outages.end(), None);
        }
        // The note of the next outage counts the lines of those without a note.
        assert_eq!(outages.lose(at(60)), Some(59));
        assert_eq!(outages.lose(at(200)), None);
        assert_eq!(outages.end(), Some(1));
        assert_eq!(outages.end(), None);
    }
}
