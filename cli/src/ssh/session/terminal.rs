//! The local terminal: its size and modes, and restoring it.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::panic;
use std::sync::{Mutex, Once, PoisonError};

use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

use crate::ui::{notice, stderr};

/// Whether to request a terminal from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PtyWish {
    /// For a shell, if standard input and output are terminals.
    Auto,
    /// `-T`
    Never,
    /// `-t`: also for a command.
    Wanted,
    /// `-tt`: even without a local terminal.
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

/// Size in characters, and in pixels if the terminal reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    /// Returns the size; 80x24 for a terminal that reports none or 0.
    pub(super) fn of_terminal() -> Self {
        let size = terminal_size::terminal_size_of(io::stdin())
            .or_else(|| terminal_size::terminal_size_of(io::stdout()));
        let (columns, rows) = size.map_or((0, 0), |(width, height)| (width.0, height.0));
        let pixels = crossterm::terminal::window_size().ok();
        // This is the size of the controlling terminal, which may be a different one.
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

/// Returns the locale variables, the same that OpenSSH sends by default on Debian.
pub(super) fn locale() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let wanted = name == "LANG" || name.starts_with("LC_");
        wanted.then_some((name, value.into_string().ok()?))
    })
}

/// Modes of the terminal before raw mode, to be restored.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode: while this exists, every key goes to the host, including Ctrl-C.
pub(super) struct RawMode(());

impl RawMode {
    pub(super) fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        // A release build aborts on a panic without dropping anything, so the hook restores the terminal.
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

/// Shows a text on a terminal in raw mode.
pub(super) fn show(text: &str) {
    notice::on_a_raw_terminal(text);
}

/// Restores the terminal and suspends the process, until the user continues it.
pub(super) fn suspend() {
    give_back();
    let _ = raise(Signal::SIGTSTP);
    // Raw mode is for the rest of the session: dropping the value would end it.
    if let Ok(raw) = RawMode::enter() {
        std::mem::forget(raw);
    }
}

/// Sets raw mode again after a stop: the shell may have changed the modes.
pub(super) fn resume() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    // In the background, changing the terminal would stop the process again.
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
    fn terminal_is_requested_only_between_terminals_or_if_forced() {
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
