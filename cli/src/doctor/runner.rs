//! Runs one check after another, each with the results of earlier ones.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{Finding, Outcome, Probe, Report};

/// Duration after which the observer is notified of a running check.
const SLOW: Duration = Duration::from_millis(500);

/// Observer of the checks.
pub(crate) trait Watch {
    /// Called when a check takes long.
    fn slow(&mut self, probe: Probe);

    fn done(&mut self, report: &Report);
}

/// Result of an earlier check, or the check that failed.
pub(super) type Known<T> = Result<T, Probe>;

pub(crate) struct Course<'a> {
    watch: &'a mut dyn Watch,
    reports: Vec<Report>,
}

impl<'a> Course<'a> {
    pub(crate) fn new(watch: &'a mut dyn Watch) -> Self {
        let reports = Vec::new();
        Self { watch, reports }
    }

    pub(crate) fn into_reports(self) -> Vec<Report> {
        self.reports
    }

    /// Makes a check if the results that it needs are known; otherwise records it as skipped.
    pub(super) async fn probe<T, U>(
        &mut self,
        probe: Probe,
        needed: Known<T>,
        look: impl AsyncFnOnce(T) -> Finding<U>,
    ) -> Known<U> {
        let needed = match needed {
            Ok(needed) => needed,
            Err(failed) => {
                let outcome = Outcome::Skipped(failed);
                let found = format!("`{}` failed", failed.name());
                self.tell(probe, outcome, Duration::ZERO, found, None);
                return Err(failed);
            }
        };
        let since = Instant::now();
        let mut looking = pin!(look(needed));
        let finding = if let Ok(finding) = timeout(SLOW, &mut looking).await {
            finding
        } else {
            self.watch.slow(probe);
            looking.await
        };
        let took = since.elapsed();
        match finding {
            Finding::Pass { found, fact } => {
                self.tell(probe, Outcome::Pass, took, found, None);
                Ok(fact)
            }
            Finding::Warn { found, fix, fact } => {
                self.tell(probe, Outcome::Warn, took, found, Some(fix));
                Ok(fact)
            }
            Finding::Fail { exit, found, fix } => {
                self.tell(probe, Outcome::Fail(exit), took, found, fix);
                Err(probe)
            }
        }
    }

    fn tell(
        &mut self,
        probe: Probe,
        outcome: Outcome,
        took: Duration,
        found: String,
        fix: Option<String>,
    ) {
        let report = Report {
            probe,
            outcome,
            took,
            found,
            fix,
        };
        self.watch.done(&report);
        self.reports.push(report);
    }
}

pub(super) fn known<T>(fact: &Known<T>) -> Known<&T> {
    fact.as_ref().map_err(|failed| *failed)
}

/// Returns both results, or the first check that failed.
pub(super) fn both<'a, T, U>(one: &'a Known<T>, other: &'a Known<U>) -> Known<(&'a T, &'a U)> {
    Ok((known(one)?, known(other)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::Exit;

    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Watch for Seen {
        fn slow(&mut self, probe: Probe) {
            self.0.push(format!("{} takes long", probe.name()));
        }

        fn done(&mut self, report: &Report) {
            self.0
                .push(format!("{} {}", report.probe.name(), report.outcome.word()));
        }
    }

    #[test]
    fn check_that_needs_a_failed_one_is_skipped() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let mut seen = Seen::default();
        let mut course = Course::new(&mut seen);
        runtime.unwrap().block_on(async {
            let dns = course
                .probe(Probe::VaultDns, Ok(()), async |()| {
                    Finding::<()>::fail(Exit::Unavailable, "no such name", "ask")
                })
                .await;
            let tcp = course
                .probe(Probe::VaultTcp, known(&dns), async |()| -> Finding<()> {
                    unreachable!("it was skipped")
                })
                .await;
            assert_eq!(tcp, Err(Probe::VaultDns));
            let other = course
                .probe(Probe::DbDns, Ok(()), async |()| Finding::pass("well", 7))
                .await;
            assert_eq!(both(&other, &tcp), Err(Probe::VaultDns));
            assert_eq!(known(&other), Ok(&7));
        });
        assert_eq!(
            seen.0,
            ["vault dns fail", "vault tcp skipped", "db dns pass"]
        );
    }
}
