//! Converts samples into the few numbers of a report.

use serde::{Deserialize, Serialize};

/// Order statistics of one set of samples. All are zero when there are no samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub count: usize,
    pub min: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
    pub mean: f64,
}

impl Summary {
    pub fn of(mut samples: Vec<f64>) -> Self {
        if samples.is_empty() {
            return Self::default();
        }
        samples.sort_by(f64::total_cmp);
        let mean = samples.iter().sum::<f64>() / count_as_f64(samples.len());
        Self {
            count: samples.len(),
            min: percentile(&samples, 0),
            p50: percentile(&samples, 50),
            p90: percentile(&samples, 90),
            p99: percentile(&samples, 99),
            max: percentile(&samples, 100),
            mean,
        }
    }
}

/// Returns the median; 0 when there are no samples.
pub fn median(samples: &[f64]) -> f64 {
    Summary::of(samples.to_vec()).p50
}

/// Returns the nearest rank, so every value in a report was measured.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Converts a count. Counts in a report are far below 2^53, up to which a double is exact.
#[allow(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds below 2^53 are exact"
)]
pub fn count_as_f64(count: usize) -> f64 {
    count as f64
}

/// Does the same as [`count_as_f64`] for nanoseconds and bytes.
#[allow(
    clippy::cast_precision_loss,
    reason = "counts and nanoseconds below 2^53 are exact"
)]
pub fn u64_as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let summary = Summary::of((1..=100).map(f64::from).collect());
        assert_eq!(
            [summary.min, summary.p50, summary.p99, summary.max].map(f64::to_bits),
            [1.0, 50.0, 99.0, 100.0].map(f64::to_bits)
        );
        assert_eq!(median(&[3.0, 1.0]).to_bits(), 1.0_f64.to_bits());
        assert_eq!(Summary::of(Vec::new()), Summary::default());
    }
}
