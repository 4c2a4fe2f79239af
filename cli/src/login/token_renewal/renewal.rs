//! Renews the token that a running command has.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};

use super::retry::Retry;
use crate::login::{CachedToken, Login, Renewed};
use crate::ui::{notice, time};

/// Renews `token` until `work` is done. A running command cannot receive a new token, so vctl warns before
/// `max_ttl` ends this one.
pub(crate) async fn renew_while<T>(
    login: &Login<'_>,
    token: CachedToken,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = work => done,
        never = keep_renewing(login, token) => match never {},
    }
}

async fn keep_renewing(login: &Login<'_>, mut token: CachedToken) -> std::convert::Infallible {
    let mut retry = Retry::default();
    loop {
        let now = Timestamp::now();
        if !token.life.renewable || token.life.is_over(now) {
            return until_its_end(&token).await;
        }
        if !retry.is_failing() {
            match token.life.rest(now) {
                Some(rest) => sleep(rest).await,
                None => std::future::pending().await,
            }
        }
        let begun = Instant::now();
        match login.renew_for_command(&token).await {
            Ok(Renewed::Extended(renewed)) => {
                retry.reset();
                token = renewed;
            }
            Ok(Renewed::AtMaxTtl | Renewed::Invalid) => token.life.renewable = false,
            Err(_) => sleep_until(retry.next_after(begun)).await,
        }
    }
}

/// Warns before the token expires.
async fn until_its_end(token: &CachedToken) -> std::convert::Infallible {
    const NOTICE: Duration = Duration::from_mins(5);
    let Some(left) = token.life.left(Timestamp::now()) else {
        return std::future::pending().await;
    };
    sleep(left.saturating_sub(NOTICE)).await;
    let left = left.min(NOTICE);
    notice::note(&format!(
        "the token of the command expires in {} and cannot be renewed; \
         for longer work, use `vctl agent`",
        time::duration(left)
    ));
    std::future::pending().await
}
