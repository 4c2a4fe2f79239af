//! Keeps a token valid for other programs, without prompts.

mod renewal;
mod retry;
mod sink;
mod watch;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Stop;
use crate::login::{CachedToken, Login, Renewed, TokenAction};
use crate::ui::notice;

pub(crate) use renewal::renew_while;
use retry::Retry;
pub(crate) use sink::Sink;
use watch::Watch;

/// A change of the token.
#[derive(Debug)]
pub(crate) enum TokenEvent {
    /// A valid token: a new one, or the same with a longer lifetime.
    Valid(Box<CachedToken>),
    /// The token is invalid, and there is no new one yet.
    Invalid,
}

/// Keeps the token of one login valid.
pub(crate) struct TokenKeeper<'a> {
    login: &'a Login<'a>,
    watch: Watch,
    token: Option<CachedToken>,
    retry: Retry,
}

/// The result of an attempt to get a valid token.
enum AttemptResult {
    Valid(CachedToken),
    /// The token is invalid; a new one may be possible.
    Invalid,
}

impl<'a> TokenKeeper<'a> {
    /// Watches the state directory for changes by other vctl processes, if there is one.
    pub(crate) fn new(login: &'a Login<'a>) -> Self {
        let watch = match login.state().make() {
            Ok(()) => Watch::on(login.state().path()),
            Err(error) => Err(notify::Error::generic(&error.one_line())),
        };
        let watch = watch.unwrap_or_else(|error| {
            tracing::debug!(%error, "The state directory is not watched.");
            Watch::nothing()
        });
        Self {
            login,
            watch,
            token: None,
            retry: Retry::default(),
        }
    }

    /// Waits for the next change of the token. The first one is a valid token.
    ///
    /// # Errors
    /// A new token is not possible: it needs an interactive login, or Vault refused.
    pub(crate) async fn next(&mut self) -> Result<TokenEvent, Stop> {
        loop {
            if self.is_over() {
                self.token = None;
                return Ok(TokenEvent::Invalid);
            }
            if !self.rest().await? {
                continue;
            }
            let begun = Instant::now();
            // The expiry is reported on time, also during an attempt to replace the token.
            let result = match self.expires() {
                Some(expires) => tokio::select! {
                    result = self.attempt() => result,
                    () = sleep_until(expires) => continue,
                },
                None => self.attempt().await,
            };
            match result {
                Ok(AttemptResult::Valid(token)) => {
                    self.retry.reset();
                    self.token = Some(token.clone());
                    return Ok(TokenEvent::Valid(Box::new(token)));
                }
                Ok(AttemptResult::Invalid) => {
                    self.token = None;
                    return Ok(TokenEvent::Invalid);
                }
                Err(Stop::Error(error)) if error.exit.is_transient() => {
                    if !self.retry.is_failing() {
                        notice::note(&format!("{}; trying again", error.one_line()));
                    }
                    let pause = sleep_until(self.retry.next_after(begun));
                    match self.expires() {
                        Some(expires) => tokio::select! {
                            () = pause => {}
                            () = sleep_until(expires) => {}
                        },
                        None => pause.await,
                    }
                }
                Err(other) => return Err(other),
            }
        }
    }

    fn is_over(&self) -> bool {
        let over = |token: &CachedToken| token.life.is_over(Timestamp::now());
        self.token.as_ref().is_some_and(over)
    }

    fn expires(&self) -> Option<Instant> {
        let left = self.token.as_ref()?.life.left(Timestamp::now())?;
        Some(Instant::now() + left)
    }

    /// Waits until the token needs a renewal, or another vctl has replaced or removed it. Returns whether an attempt
    /// is needed; without a token, returns true at once.
    async fn rest(&mut self) -> Result<bool, Stop> {
        let Some(token) = &self.token else {
            return Ok(true);
        };
        if self.retry.is_failing() {
            return Ok(true);
        }
        let rest = token.life.rest(Timestamp::now());
        let changed = tokio::select! {
            () = async { match rest {
                Some(rest) => sleep(rest).await,
                None => std::future::pending().await,
            } } => false,
            () = self.watch.changed() => true,
        };
        if changed {
            let cached = self.login.cached()?;
            let same = |cached: &CachedToken| cached.token.expose() == token.token.expose();
            return Ok(!cached.as_ref().is_some_and(same));
        }
        // A token that cannot be renewed needs no attempt before its end.
        let now = Timestamp::now();
        Ok(token.life.renewable || token.life.next(now) != TokenAction::Use)
    }

    /// Makes one attempt to get a valid token, with requests to the server if necessary.
    async fn attempt(&self) -> Result<AttemptResult, Stop> {
        let lock = self.login.lock().await?;
        let cached = self.login.cached()?;
        if let Some(token) = &self.token {
            match &cached {
                // After a logout or another login, this token must not be used.
                None => return Ok(AttemptResult::Invalid),
                Some(cached) if cached.token.expose() != token.token.expose() => {
                    return Ok(AttemptResult::Valid(cached.clone()));
                }
                Some(cached) if cached.life.renewable => {
                    match self.login.renew(cached, &lock).await? {
                        Renewed::Extended(token) => return Ok(AttemptResult::Valid(token)),
                        Renewed::AtMaxTtl => {}
                        Renewed::Invalid => {
                            self.login.cache().remove()?;
                            return Ok(AttemptResult::Invalid);
                        }
                    }
                }
                Some(_) => {}
            }
        } else if let Some(cached) = cached
            && cached.life.next(Timestamp::now()) == TokenAction::Use
        {
            return Ok(AttemptResult::Valid(cached));
        }
        let token = self.login.replace(&lock).await?;
        Ok(AttemptResult::Valid(token))
    }
}
