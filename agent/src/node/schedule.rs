//! Decides when the next report is due, while reports succeed. No I/O.

use std::time::Duration;

use ssh_key::sha2::{Digest, Sha256};

/// A thousand hosts that boot together spread their reports over this time; each host always has
/// the same offset.
const SPREAD: Duration = Duration::from_secs(30);
/// After the first failure; it doubles up to the interval.
pub(super) const FIRST_RETRY: Duration = Duration::from_secs(15);

/// Returns the wait before a host's first report.
pub(super) fn offset(hostname: &str) -> Duration {
    let mut hash = Sha256::new();
    hash.update(hostname);
    hash.update(" node");
    let mut number = [0; 8];
    number.copy_from_slice(&hash.finalize()[..8]);
    SPREAD.mul_f64(fraction(u64::from_be_bytes(number)))
}

/// Returns the time to the next report after a report that was stored. `chance` is from 0 to 1.
pub(super) fn wait(interval: Duration, chance: f64) -> Duration {
    // Spreads hosts that came into step while the centre was unavailable.
    interval.mul_f64(0.95 + chance / 10.0)
}

#[allow(clippy::cast_precision_loss, reason = "a place in an interval")]
fn fraction(number: u64) -> f64 {
    number as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_mins(5);

    #[test]
    fn hosts_of_one_rack_do_not_report_at_one_moment() {
        let offsets: Vec<Duration> = (0..300).map(|n| offset(&format!("web-{n}"))).collect();
        assert!(offsets.iter().all(|offset| *offset <= SPREAD));
        for second in [0, 10, 20] {
            let (from, to) = (
                Duration::from_secs(second),
                Duration::from_secs(second + 10),
            );
            let within = offsets.iter().filter(|o| (from..to).contains(*o)).count();
            assert!((60..140).contains(&within), "{within} at {second} s");
        }
        assert_eq!(offset("web-1"), offset("web-1"));
    }

    #[test]
    fn a_healthy_host_keeps_to_its_interval_within_a_twentieth() {
        assert_eq!(wait(INTERVAL, 0.0), Duration::from_secs(285));
        assert_eq!(wait(INTERVAL, 1.0), Duration::from_secs(315));
    }
}
