//! Keeps a rate by the clock, and not by the time of the last call.

use std::time::{Duration, Instant};

/// Due times at a fixed rate from one start. A late caller is not delayed further. So the rate over the whole run is
/// right as long as the machine can reach it.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    /// `None` means as fast as possible.
    interval: Option<Duration>,
    turn: u32,
}

impl Pace {
    /// Starts with `rate` per second. `None` or 0 means as fast as possible.
    pub fn new(start: Instant, rate: Option<f64>) -> Self {
        let interval = rate
            .filter(|rate| *rate > 0.0)
            .map(|rate| Duration::from_secs_f64(1.0 / rate));
        Self {
            start,
            interval,
            turn: 0,
        }
    }

    /// Sleeps until the next turn is due.
    pub fn wait(&mut self) {
        if let Some(interval) = self.interval {
            let due = self.start + interval * self.turn;
            self.turn += 1;
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                std::thread::sleep(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_turn_is_caught_up() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Some(100.0));
        pace.wait();
        std::thread::sleep(Duration::from_millis(55));
        for _ in 1..=10 {
            pace.wait();
        }
        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_millis(100), "{elapsed:?}");
        assert!(elapsed < Duration::from_millis(140), "{elapsed:?}");
    }
}
