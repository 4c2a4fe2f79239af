//! Runs one check after another, each with the results of earlier ones.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{Check, CheckOutcome, CheckReport, CheckResult};

/// Duration after which the observer is notified of a running check.
const SLOW: Duration = Duration::from_millis(500);

/// Observer of the checks.
pub(crate) trait Observer {
    /// Called when a check takes long.
    fn slow(&mut self, check: Check);

    fn done(&mut self, report: &CheckReport);
}

/// Result of an earlier check, or the check that failed.
pub(super) type Earlier<T> = Result<T, Check>;

pub(crate) struct Runner<'a> {
    observer: &'a mut dyn Observer,
    reports: Vec<CheckReport>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(observer: &'a mut dyn Observer) -> Self {
        let reports = Vec::new();
        Self { observer, reports }
    }

    pub(crate) fn into_reports(self) -> Vec<CheckReport> {
        self.reports
    }

    /// Makes a check if the results that it needs are known; otherwise records it as skipped.
    pub(super) async fn check<T, U>(
        &mut self,
        check: Check,
        needed: Earlier<T>,
        look: impl AsyncFnOnce(T) -> CheckResult<U>,
    ) -> Earlier<U> {
        let needed = match needed {
            Ok(needed) => needed,
            Err(failed) => {
                let outcome = CheckOutcome::Skipped(failed);
                let found = format!("`{}` failed", failed.name());
                self.record(check, outcome, Duration::ZERO, found, None);
                return Err(failed);
            }
        };
        let since = Instant::now();
        let mut looking = pin!(look(needed));
        let finding = if let Ok(finding) = timeout(SLOW, &mut looking).await {
            finding
        } else {
            self.observer.slow(check);
            looking.await
        };
        let took = since.elapsed();
        match finding {
            CheckResult::Pass { found, fact } => {
                self.record(check, CheckOutcome::Pass, took, found, None);
                Ok(fact)
            }
            CheckResult::Warn { found, fix, fact } => {
                self.record(check, CheckOutcome::Warn, took, found, Some(fix));
                Ok(fact)
            }
            CheckResult::Fail { exit, found, fix } => {
                self.record(check, CheckOutcome::Fail(exit), took, found, fix);
                Err(check)
            }
        }
    }

    fn record(
        &mut self,
        check: Check,
        outcome: CheckOutcome,
        took: Duration,
        found: String,
        fix: Option<String>,
    ) {
        let report = CheckReport {
            check,
            outcome,
            took,
            found,
            fix,
        };
        self.observer.done(&report);
        self.reports.push(report);
    }
}

pub(super) fn earlier<T>(fact: &Earlier<T>) -> Earlier<&T> {
    fact.as_ref().map_err(|failed| *failed)
}

/// Returns both results, or the first check that failed.
pub(super) fn both<'a, T, U>(
    one: &'a Earlier<T>,
    other: &'a Earlier<U>,
) -> Earlier<(&'a T, &'a U)> {
    Ok((earlier(one)?, earlier(other)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::Exit;

    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Observer for Seen {
        fn slow(&mut self, check: Check) {
            self.0.push(format!("{} takes long", check.name()));
        }

        fn done(&mut self, report: &CheckReport) {
            self.0
                .push(format!("{} {}", report.check.name(), report.outcome.word()));
        }
    }

    #[test]
    fn check_that_needs_a_failed_one_is_skipped() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let mut seen = Seen::default();
        let mut runner = Runner::new(&mut seen);
        runtime.unwrap().block_on(async {
            let dns = runner
                .check(Check::VaultDns, Ok(()), async |()| {
                    CheckResult::<()>::fail(Exit::Unavailable, "no such name", "ask")
                })
                .await;
            let tcp = runner
                .check(
                    Check::VaultTcp,
                    earlier(&dns),
                    async |()| -> CheckResult<()> { unreachable!("it was skipped") },
                )
                .await;
            assert_eq!(tcp, Err(Check::VaultDns));
            let other = runner
                .check(Check::DbDns, Ok(()), async |()| {
                    CheckResult::pass("well", 7)
                })
                .await;
            assert_eq!(both(&other, &tcp), Err(Check::VaultDns));
            assert_eq!(earlier(&other), Ok(&7));
        });
        assert_eq!(
            seen.0,
            ["vault dns fail", "vault tcp skipped", "db dns pass"]
        );
    }
}
