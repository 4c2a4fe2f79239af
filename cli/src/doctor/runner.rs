//! Runs checks, each with the results of those that it needs, and reports them in one order.

use std::cell::RefCell;
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

pub(crate) struct Runner<'a>(RefCell<Reporter<'a>>);

/// Hands the reports to the observer in the order of [`Check`], whichever check ends first.
struct Reporter<'a> {
    observer: &'a mut dyn Observer,
    reports: Vec<CheckReport>,
    /// Reports of checks behind one that still runs.
    waiting: Vec<CheckReport>,
    /// Checks that take long.
    slow: Vec<Check>,
}

impl Reporter<'_> {
    fn next(&self) -> Option<Check> {
        Check::ALL.get(self.reports.len()).copied()
    }

    fn is_slow(&mut self, check: Check) {
        if self.next() == Some(check) {
            self.observer.slow(check);
        } else {
            self.slow.push(check);
        }
    }

    fn record(&mut self, report: CheckReport) {
        self.waiting.push(report);
        while let Some(next) = self.next()
            && let Some(at) = self.waiting.iter().position(|one| one.check == next)
        {
            let report = self.waiting.swap_remove(at);
            self.observer.done(&report);
            self.reports.push(report);
        }
        // The output stands at a check that began long ago.
        if let Some(next) = self.next()
            && let Some(at) = self.slow.iter().position(|slow| *slow == next)
        {
            self.slow.swap_remove(at);
            self.observer.slow(next);
        }
    }
}

impl<'a> Runner<'a> {
    pub(crate) fn new(observer: &'a mut dyn Observer) -> Self {
        Self(RefCell::new(Reporter {
            observer,
            reports: Vec::new(),
            waiting: Vec::new(),
            slow: Vec::new(),
        }))
    }

    pub(crate) fn into_reports(self) -> Vec<CheckReport> {
        self.0.into_inner().reports
    }

    /// Makes a check if the results that it needs are known; otherwise records it as skipped.
    pub(super) async fn check<T, U>(
        &self,
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
            self.0.borrow_mut().is_slow(check);
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
        &self,
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
        self.0.borrow_mut().record(report);
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
        let runner = Runner::new(&mut seen);
        runtime.unwrap().block_on(async {
            let config = async |()| CheckResult::pass("well", ());
            let _ = runner.check(Check::Config, Ok(()), config).await;
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
                .check(Check::VaultTls, Ok(()), async |()| {
                    CheckResult::pass("well", 7)
                })
                .await;
            assert_eq!(both(&other, &tcp), Err(Check::VaultDns));
            assert_eq!(earlier(&other), Ok(&7));
        });
        assert_eq!(
            seen.0,
            [
                "config pass",
                "vault dns fail",
                "vault tcp skipped",
                "vault tls pass"
            ]
        );
    }

    #[test]
    fn reports_are_in_order_whichever_check_ends_first() {
        let mut seen = Seen::default();
        let mut reporter = Reporter {
            observer: &mut seen,
            reports: Vec::new(),
            waiting: Vec::new(),
            slow: Vec::new(),
        };
        let report = |check| CheckReport {
            check,
            outcome: CheckOutcome::Pass,
            took: Duration::ZERO,
            found: String::new(),
            fix: None,
        };
        reporter.record(report(Check::VaultTcp));
        reporter.is_slow(Check::VaultDns);
        reporter.is_slow(Check::Config);
        reporter.record(report(Check::Config));
        reporter.record(report(Check::VaultDns));
        assert_eq!(reporter.reports.len(), 3);
        assert_eq!(
            seen.0,
            [
                "config takes long",
                "config pass",
                "vault dns takes long",
                "vault dns pass",
                "vault tcp pass"
            ]
        );
    }
}
