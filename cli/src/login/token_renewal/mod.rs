//! Keeping a token alive for others, for as long as they need it, with nobody asked anything.

mod renewal;
mod retry;
mod sink;
mod watch;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Stop;
use crate::login::{CachedToken, Login, Next, Renewed};
use crate::ui::notice;

pub(crate) use renewal::renew_while;
use retry::Retry;
pub(crate) use sink::Sink;
use watch::Watch;

/// Something others have to be told.
#[derive(Debug)]
pub(crate) enum Event {
    /// A token that is good: another one, or the same for longer.
    Good(Box<CachedToken>),
    /// The last one is known to be dead, and there is no other yet.
    Dead,
}

/// Keeps one person's, or one machine's, token.
pub(crate) struct Keeper<'a> {
    login: &'a Login<'a>,
    watch: Watch,
    token: Option<CachedToken>,
    retry: Retry,
}

/// What a try to have a good token came to.
enum Tried {
    Good(CachedToken),
    /// The token is no longer one; there may be another.
    Dead,
}

impl<'a> Keeper<'a> {
    /// Without a state directory no other vctl can replace the token.
    pub(crate) fn new(login: &'a Login<'a>) -> Self {
        let watch = match login.state().make() {
            Ok(()) => Watch::on(login.state().path()),
            Err(error) => Err(notify::Error::generic(&error.message)),
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

    /// Waits for the next thing others have to be told. The first is a good token.
    ///
    /// # Errors
    /// When no try could bring another: nobody is there to be asked, or Vault says no.
    pub(crate) async fn next(&mut self) -> Result<Event, Stop> {
        loop {
            if self.is_over() {
                self.token = None;
                return Ok(Event::Dead);
            }
            if !self.rest().await? {
                continue;
            }
            let begun = Instant::now();
            // What is known to end ends on time, also in the middle of a try to replace it.
            let tried = match self.expires() {
                Some(expires) => tokio::select! {
                    tried = self.attempt() => tried,
                    () = sleep_until(expires) => continue,
                },
                None => self.attempt().await,
            };
            match tried {
                Ok(Tried::Good(token)) => {
                    self.retry.reset();
                    self.token = Some(token.clone());
                    return Ok(Event::Good(Box::new(token)));
                }
                Ok(Tried::Dead) => {
                    self.token = None;
                    return Ok(Event::Dead);
                }
                Err(Stop::Error(error)) if error.exit.may_pass() => {
                    if !self.retry.is_failing() {
                        notice::note(&format!("{}; trying again", error.message));
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

    /// Waits until the token has to be looked after, or was replaced or taken away by another vctl.
    /// Returns whether there is something to do for it; without a token there is at once.
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
            let kept = self.login.kept()?;
            let same = |kept: &CachedToken| kept.token.expose() == token.token.expose();
            return Ok(!kept.as_ref().is_some_and(same));
        }
        // Nothing can be done yet for one that cannot be renewed.
        let now = Timestamp::now();
        Ok(token.life.renewable || token.life.next(now) != Next::Use)
    }

    /// Has a good token once, asking the server when it must.
    async fn attempt(&self) -> Result<Tried, Stop> {
        let lock = self.login.lock().await?;
        let kept = self.login.kept()?;
        if let Some(token) = &self.token {
            match &kept {
                // Logged out, or another logged in: what we hold is not to be used any more.
                None => return Ok(Tried::Dead),
                Some(kept) if kept.token.expose() != token.token.expose() => {
                    return Ok(Tried::Good(kept.clone()));
                }
                Some(kept) if kept.life.renewable => match self.login.renew(kept).await? {
                    Renewed::Lives(token) => return Ok(Tried::Good(token)),
                    Renewed::AtItsEnd => {}
                    Renewed::Dead => {
                        self.login.cache().remove()?;
                        return Ok(Tried::Dead);
                    }
                },
                Some(_) => {}
            }
        } else if let Some(kept) = kept
            && kept.life.next(Timestamp::now()) == Next::Use
        {
            return Ok(Tried::Good(kept));
        }
        let token = self.login.replace(&lock).await?;
        Ok(Tried::Good(token))
    }
}
