//! Reads the final address of the browser from the terminal.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{pipe, read as read_some};
use url::Url;
use vctl_common::secret::Secret;

use super::address::{PATH, redirect_uri};
use super::callback::{self, Answer};
use crate::ui::notice;

/// Reads lines from the terminal until one is the address with `state`. Waits for ever if the terminal is
/// closed.
pub(super) async fn read(port: u16, state: &Secret<String>) -> Answer {
    notice::done(&format!(
        "after the login, the browser opens {}; if that page does not load, copy its address from the browser and paste it here",
        redirect_uri(port)
    ));
    loop {
        let open = OpenLine::begin();
        let Some(line) = line().await else {
            return pending().await;
        };
        open.answered();
        let line = line.expose().trim();
        if line.is_empty() {
            continue;
        }
        match read_address(line, state) {
            Ok(answer) => return answer,
            Err(why) => notice::note(why),
        }
    }
}

/// An open prompt. On drop, ends the line.
struct OpenLine;

impl OpenLine {
    fn begin() -> Self {
        notice::prompt("> ");
        Self
    }

    /// The user has ended the line.
    fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for OpenLine {
    fn drop(&mut self) {
        notice::done("");
    }
}

fn read_address(text: &str, state: &Secret<String>) -> Result<Answer, &'static str> {
    let url = Url::parse(text).ok().filter(|url| url.path() == PATH);
    let url = url.ok_or("this is not the final address of the login")?;
    // An incomplete address does not end the login: the user can paste again.
    let is_whole = url
        .query_pairs()
        .any(|(name, value)| matches!(&*name, "code" | "error") && !value.is_empty());
    if !is_whole {
        return Err("the address is incomplete");
    }
    callback::read(url.query().unwrap_or_default().as_bytes(), state)
        .map_err(|callback::ForeignAnswer| "the address belongs to another login")
}

/// Returns the next line; `None` at the end. A dropped reader must not take input from the next reader.
async fn line() -> Option<Secret<String>> {
    // The pipe closes when this future is dropped, which ends the read.
    let (ended, _until_dropped) = pipe().ok()?;
    tokio::task::spawn_blocking(move || read_line(&ended))
        .await
        .ok()?
}

/// Reads one line. The terminal delivers complete lines, of at most 4095 bytes; addresses with a code have a few
/// hundred.
fn read_line(ended: &OwnedFd) -> Option<Secret<String>> {
    let stdin = io::stdin();
    let mut watched = [
        PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
    ];
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
    let [gone, typed] = watched.map(|watched| watched.any().unwrap_or(true));
    if gone || !typed {
        return None;
    }
    let mut bytes = vec![0; 4096];
    let length = read_some(stdin.as_fd(), &mut bytes)
        .ok()
        .filter(|length| *length > 0)?;
    bytes.truncate(length);
    Some(Secret::new(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_address_is_parsed_like_an_answer() {
        let state = Secret::new("s".to_owned());
        let read = |text: &str| read_address(text, &state).map(|answer| answer.is_ok());
        assert_eq!(
            read("http://localhost:8250/oidc/callback?code=c&state=s"),
            Ok(true)
        );
        let refused = "http://localhost:8250/oidc/callback?error=access_denied&state=s";
        assert_eq!(read(refused), Ok(false));
        for (text, says) in [
            (
                "http://localhost:8250/oidc/callback?code=c&state=t",
                "another login",
            ),
            ("http://localhost:8250/oidc/callback?state=s", "incomplete"),
            (
                "http://localhost:8250/?code=c&state=s",
                "not the final address",
            ),
            ("c", "not the final address"),
        ] {
            assert!(read(text).unwrap_err().contains(says), "{text}");
        }
    }
}
