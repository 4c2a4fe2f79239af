//! Decides the size and the frequency of calls. No I/O.

use std::time::Duration;

use super::chunk::Limits;

/// Largest call. In measurements, more rows at a time were not stored faster.
const MOST: Limits = Limits {
    events: 1000,
    bytes: 1 << 20,
};
const LEAST: Limits = Limits {
    events: 32,
    bytes: 32 << 10,
};
/// Time between two calls of a busy session; a user hardly notices it.
const OFTEN: Duration = Duration::from_millis(250);
/// The same when the centre is slow.
const SELDOM: Duration = Duration::from_secs(2);

/// Adapts to the centre: a slow one is called less often, and one that cannot store a batch gets
/// smaller ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    limits: Limits,
    interval: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            limits: MOST,
            interval: OFTEN,
        }
    }
}

impl BatchLimits {
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns the wait for more records before a call.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Notes a successful call and its duration.
    pub(super) fn stored(&mut self, took: Duration) {
        self.interval = (took * 8).clamp(OFTEN, SELDOM);
        if took < SELDOM {
            self.limits.events = (self.limits.events * 2).min(MOST.events);
            self.limits.bytes = (self.limits.bytes * 2).min(MOST.bytes);
        }
    }

    /// Notes that a call was too large for the centre.
    pub(super) fn too_much(&mut self) {
        self.interval = SELDOM;
        self.limits.events = (self.limits.events / 2).max(LEAST.events);
        self.limits.bytes = (self.limits.bytes / 2).max(LEAST.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_centre_is_called_less_often_until_it_is_fast() {
        let mut limits = BatchLimits::default();
        limits.stored(Duration::from_millis(100));
        assert_eq!(limits.interval(), Duration::from_millis(800));
        limits.stored(Duration::from_secs(9));
        assert_eq!(limits.interval(), SELDOM);
        limits.stored(Duration::from_millis(5));
        assert_eq!(limits.interval(), OFTEN);
    }

    #[test]
    fn what_is_too_much_gets_smaller_and_grows_back() {
        let mut limits = BatchLimits::default();
        for _ in 0..20 {
            limits.too_much();
        }
        assert_eq!(limits.limits(), LEAST);
        for _ in 0..20 {
            limits.stored(Duration::from_millis(5));
        }
        assert_eq!(limits.limits(), MOST);
    }
}
