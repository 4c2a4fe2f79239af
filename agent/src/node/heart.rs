//! The loop of reports. It continues whatever happens to the centre.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};
use vctl_common::backoff::{Backoff, random_fraction};

use super::schedule;

/// Limit for Vault, Postgres and the call together. A slower centre counts as unavailable.
const ATTEMPT: Duration = Duration::from_secs(15);

/// Result of one report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored,
    /// The host is not in the inventory; only an operator can change that, as this hint says.
    NotInInventory(String),
}

/// The way to the centre.
pub(super) trait Centre {
    type Error: std::fmt::Display;

    /// Sends one report, with all steps from the login on that are not done yet. The future may be dropped at any time.
    async fn report(&mut self) -> Result<Outcome, Self::Error>;

    /// Ends the login, so that the next report begins with a new one. Takes a short time only.
    async fn log_out(&mut self);
}

/// Reports until the future is dropped. After a failure it starts again from the login, because the
/// old token or connection may be unusable.
pub(super) async fn beat(
    hostname: &str,
    interval: Duration,
    watchdog: Option<Duration>,
    centre: &mut impl Centre,
) {
    let mut voice = Voice::default();
    // A host must not report more often while its reports fail.
    let mut backoff = Backoff::new(schedule::FIRST_RETRY, interval);
    let mut next = Instant::now() + schedule::offset(hostname).min(interval);
    loop {
        // The watchdog monitors this loop and not the centre, so it is also fed while the centre is
        // unavailable.
        pause(next, watchdog).await;
        let result = once(centre).await;
        let wait = if result.is_err() {
            backoff.next_pause()
        } else {
            backoff.reset();
            schedule::wait(interval, random_fraction())
        };
        voice.say(result);
        next = Instant::now() + wait;
    }
}

/// Sends one report within the limit. A failed one leaves no login behind, also when its time is over.
pub(super) async fn once(centre: &mut impl Centre) -> Result<Outcome, String> {
    let why = match timeout(ATTEMPT, centre.report()).await {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no report within {} s", ATTEMPT.as_secs()),
    };
    centre.log_out().await;
    Err(why)
}

async fn pause(until: Instant, watchdog: Option<Duration>) {
    loop {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        // The interval may be longer than the watchdog's limit.
        let nap = watchdog.map(|timeout| Instant::now() + timeout / 2);
        let wake = nap.map_or(until, |nap| nap.min(until));
        sleep_until(wake).await;
        if wake >= until {
            break;
        }
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
}

/// Logs one line per change and none while the state stays, so that an outage does not fill the
/// logs of all hosts.
#[derive(Debug, Default)]
struct Voice {
    last: Option<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Healthy,
    NotInInventory,
    Failing,
}

impl Voice {
    fn say(&mut self, result: Result<Outcome, String>) {
        let state = match &result {
            Ok(Outcome::Stored) => State::Healthy,
            Ok(Outcome::NotInInventory(_)) => State::NotInInventory,
            Err(_) => State::Failing,
        };
        if self.turns(state) {
            match result {
                Ok(Outcome::Stored) => info!("Reporting."),
                Ok(Outcome::NotInInventory(hint)) => {
                    warn!(
                        hint,
                        "This host is not in the inventory; its reports are refused."
                    );
                }
                Err(error) => warn!(error, "The report did not get through; trying again."),
            }
        }
    }

    /// Returns whether the state has changed.
    fn turns(&mut self, state: State) -> bool {
        self.last.replace(state) != Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::convert::Infallible;

    /// A centre that answers as a function does, and counts the logins that are not ended.
    struct Told<F> {
        answer: F,
        logins: usize,
    }

    impl<F> Told<F> {
        fn new(answer: F) -> Self {
            Self { answer, logins: 0 }
        }
    }

    impl<F, E> Centre for Told<F>
    where
        F: AsyncFnMut() -> Result<Outcome, E>,
        E: std::fmt::Display,
    {
        type Error = E;

        async fn report(&mut self) -> Result<Outcome, E> {
            self.logins += 1;
            (self.answer)().await
        }

        async fn log_out(&mut self) {
            self.logins = 0;
        }
    }

    #[test]
    fn a_change_is_one_line_and_a_state_is_none() {
        let mut voice = Voice::default();
        let said = [
            State::Healthy,
            State::Healthy,
            State::Failing,
            State::Failing,
            State::Healthy,
        ]
        .map(|state| voice.turns(state));
        assert_eq!(said, [true, false, true, false, true]);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn an_outage_of_a_day_ends_with_a_report_within_the_interval() {
        let began = Instant::now();
        let back = began + Duration::from_hours(24);
        let reported = Cell::new(None);
        let interval = Duration::from_mins(5);
        let attempt = async || {
            if Instant::now() < back {
                // One attempt hangs and one is refused.
                if random_fraction() < 0.5 {
                    std::future::pending::<()>().await;
                }
                return Err("refused");
            }
            reported.set(Some(Instant::now()));
            Ok(Outcome::Stored)
        };
        let mut centre = Told::new(attempt);
        let beating = beat(
            "web-1",
            interval,
            Some(Duration::from_secs(30)),
            &mut centre,
        );
        let _ = timeout(Duration::from_hours(25), beating).await;
        // The last report: reports continued in the hour after the outage.
        assert!(reported.get().unwrap() > back + Duration::from_mins(50));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn no_attempt_takes_longer_than_fifteen_seconds() {
        let began = Instant::now();
        let mut centre = Told::new(async || {
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(Outcome::Stored)
        });
        assert!(once(&mut centre).await.is_err());
        assert_eq!(began.elapsed(), ATTEMPT);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_failed_report_leaves_no_login_behind() {
        let mut late = Told::new(async || {
            std::future::pending::<()>().await;
            Ok::<_, Infallible>(Outcome::Stored)
        });
        assert!(once(&mut late).await.is_err());
        assert_eq!(late.logins, 0, "after a report that was too late");
        let mut refused = Told::new(async || Err("refused"));
        assert!(once(&mut refused).await.is_err());
        assert_eq!(refused.logins, 0, "after a refused report");
        let mut stored = Told::new(async || Ok::<_, Infallible>(Outcome::Stored));
        once(&mut stored).await.unwrap();
        assert_eq!(stored.logins, 1, "the login stays for the next report");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_host_reports_every_interval_from_its_own_moment_on() {
        let times = Cell::new(0);
        let attempt = async || {
            times.set(times.get() + 1);
            Ok::<_, Infallible>(Outcome::Stored)
        };
        let mut centre = Told::new(attempt);
        let hour = beat("web-1", Duration::from_mins(5), None, &mut centre);
        let _ = timeout(Duration::from_hours(1), hour).await;
        assert!((11..=13).contains(&times.get()), "{}", times.get());
    }
}
