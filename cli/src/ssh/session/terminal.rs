//! The terminal in front of a person: its size, its modes, and that it is given back as it was.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::panic;
use std::sync::{Mutex, Once, PoisonError};

use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

use crate::ui::{notice, stderr};

/// Whether the host is asked for a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PtyWish {
    /// For a shell, when both our ends are terminals.
    Auto,
    /// `-T`
    Never,
    /// `-t`: for a command, too.
    Wanted,
    /// `-tt`: also where we have none.
    Forced,
}

impl PtyWish {
    /// Decides for this process.
    pub(crate) fn decide(self, has_command: bool) -> bool {
        self.decide_for(
            has_command,
            io::stdin().is_terminal(),
            io::stdout().is_terminal(),
        )
    }

    fn decide_for(self, has_command: bool, stdin: bool, stdout: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Forced => true,
            Self::Wanted => stdin && stdout,
            Self::Auto => stdin && stdout && !has_command,
        }
    }
}

/// In characters, and in pixels where the terminal says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    /// A terminal that does not say, or that says 0, has the usual size.
    pub(super) fn of_terminal() -> Self {
        let size = terminal_size::terminal_size_of(io::stdin())
            .or_else(|| terminal_size::terminal_size_of(io::stdout()));
        let (columns, rows) = size.map_or((0, 0), |(width, height)| (width.0, height.0));
        let pixels = crossterm::terminal::window_size().ok();
        // That of the controlling terminal, which may be another one.
        let pixels = pixels.filter(|same| (same.columns, same.rows) == (columns, rows));
        let (width, height) = pixels.map_or((0, 0), |same| (same.width, same.height));
        Self {
            columns: if columns == 0 { 80 } else { columns.into() },
            rows: if rows == 0 { 24 } else { rows.into() },
            width: width.into(),
            height: height.into(),
        }
    }
}

pub(super) fn term() -> String {
    let term = std::env::var("TERM").ok().filter(|term| !term.is_empty());
    term.unwrap_or_else(|| "xterm-256color".to_owned())
}

/// Variables that say in which language programs talk: all that OpenSSH sends by default on Debian.
pub(super) fn locale() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let wanted = name == "LANG" || name.starts_with("LC_");
        wanted.then_some((name, value.into_string().ok()?))
    })
}

/// How the terminal was before we took it; for whoever has to give it back.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While this lives every key is the host's: also Ctrl-C.
pub(super) struct RawMode(());

impl RawMode {
    pub(super) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        // In a release a panic aborts: nothing is dropped, and this is the last that runs.
        HOOK.call_once(|| {
            let next = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                next(info);
            }));
        });
        let before = tcgetattr(io::stdin().as_fd())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &raw)?;
        stderr::set_raw(true);
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        stderr::set_raw(false);
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &before);
    }
}

/// Shows text of ours on a terminal that is raw.
pub(super) fn show(text: &str) {
    notice::on_a_raw_terminal(text);
}

/// Puts ourselves into the background, with the terminal as it was, until somebody brings us back.
pub(super) fn suspend() {
    give_back();
    let _ = raise(Signal::SIGTSTP);
    // Raw again, for the rest of the session: dropped, it would be given back.
    if let Ok(raw) = RawMode::enter() {
        std::mem::forget(raw);
    }
}

/// Makes the terminal raw again after a stop: a shell may have set it for itself meanwhile.
pub(super) fn resume() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    // In the background this would stop us once more.
    let in_front = tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
    if let (Some(before), true) = (&*before, in_front) {
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSANOW, &raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_asked_for_only_where_there_are_two_or_somebody_insists() {
        for (wish, command, stdin, stdout, wanted) in [
            (PtyWish::Auto, false, true, true, true),
            (PtyWish::Auto, true, true, true, false),
            (PtyWish::Auto, false, false, true, false),
            (PtyWish::Auto, false, true, false, false),
            (PtyWish::Wanted, true, true, true, true),
            (PtyWish::Wanted, true, false, true, false),
            (PtyWish::Forced, true, false, false, true),
            (PtyWish::Never, false, true, true, false),
        ] {
            let decided = wish.decide_for(command, stdin, stdout);
            assert_eq!(decided, wanted, "{wish:?} {command} {stdin} {stdout}");
        }
    }
}
