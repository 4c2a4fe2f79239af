//! How much at a time, and how often. Pure.

use std::time::Duration;

use super::chunk::Limits;

/// Most of one call. Measured: more rows at a time are not stored faster.
const MOST: Limits = Limits {
    events: 1000,
    bytes: 1 << 20,
};
const LEAST: Limits = Limits {
    events: 32,
    bytes: 32 << 10,
};
/// Between two calls of a busy session: a tenth of what a person notices.
const OFTEN: Duration = Duration::from_millis(250);
/// And when the centre is slow.
const SELDOM: Duration = Duration::from_secs(2);

/// Adapts to the centre: one that takes long is called less often, one that cannot take a batch gets
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

    /// How long to wait for more before what is there is sent.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// A call went through, and took so long.
    pub(super) fn stored(&mut self, took: Duration) {
        self.interval = (took * 8).clamp(OFTEN, SELDOM);
        if took < SELDOM {
            self.limits.events = (self.limits.events * 2).min(MOST.events);
            self.limits.bytes = (self.limits.bytes * 2).min(MOST.bytes);
        }
    }

    /// The centre could not take a call of this size.
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
    fn a_slow_centre_is_called_less_often() {
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
