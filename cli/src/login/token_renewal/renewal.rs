//! Keeping alive the very token that somebody was given.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, sleep_until};

use super::retry::Retry;
use crate::login::{CachedToken, Login, Renewed};
use crate::ui::{notice, time};

/// Renews `token` until `work` is done. Another token could not reach who has this one, so when
/// renewing no longer helps it is said until when the work has one.
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
        match login.renew(&token).await {
            Ok(Renewed::Lives(renewed)) => {
                retry.reset();
                token = renewed;
            }
            Ok(Renewed::AtItsEnd | Renewed::Dead) => token.life.renewable = false,
            Err(_) => sleep_until(retry.next_after(begun)).await,
        }
    }
}

/// Warns while there is time left to do something.
async fn until_its_end(token: &CachedToken) -> std::convert::Infallible {
    const NOTICE: Duration = Duration::from_mins(5);
    let Some(left) = token.life.left(Timestamp::now()) else {
        return std::future::pending().await;
    };
    sleep(left.saturating_sub(NOTICE)).await;
    let left = left.min(NOTICE);
    notice::note(&format!(
        "the token that was given to the command ends in {}, and another cannot reach it; \
         for work that takes longer there is `vctl agent`",
        time::duration(left)
    ));
    std::future::pending().await
}
