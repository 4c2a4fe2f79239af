//! The terminal while a picker has it: raw, on its second screen, and as before whatever happens.

use std::io::{self, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstyle::{Effects, Style};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{QueueableCommand as _, cursor, terminal};

use super::state::{Key, Line};
use crate::ui::{DIM, sanitize};

const HERE: Style = Style::new().effects(Effects::INVERT);

/// How long somebody who no longer waits for a key is still listened for.
const GLANCE: Duration = Duration::from_millis(50);

/// Whether the terminal is ours at the moment.
static OURS: AtomicBool = AtomicBool::new(false);

/// What there is to be drawn for.
pub(super) enum Input {
    Key(Key),
    Resized,
}

/// The terminal is ours while this lives.
pub(super) struct Screen(());

impl Screen {
    pub(super) fn take() -> io::Result<Self> {
        give_back_on_panic();
        terminal::enable_raw_mode()?;
        OURS.store(true, Ordering::Release);
        let screen = Self(());
        let mut err = io::stderr();
        err.queue(terminal::EnterAlternateScreen)?
            .queue(cursor::Hide)?
            .flush()?;
        Ok(screen)
    }

    /// Draws with `lines`, which is told columns and rows.
    #[expect(clippy::unused_self, reason = "who has no screen cannot draw on it")]
    pub(super) fn draw(&self, lines: impl FnOnce(usize, usize) -> Vec<Line>) -> io::Result<()> {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        // A terminal that says it has no size has some.
        let (columns, rows) = (usize::from(columns.max(1)), usize::from(rows.max(1)));
        // At once, for nothing to flicker.
        let mut frame: Vec<u8> = Vec::new();
        frame.queue(cursor::MoveTo(0, 0))?;
        for (index, line) in lines(columns, rows).iter().enumerate() {
            if index > 0 {
                frame.write_all(b"\r\n")?;
            }
            let style = match line {
                Line { is_here: true, .. } => HERE,
                Line { is_dim: true, .. } => DIM,
                Line { .. } => Style::new(),
            };
            let text = sanitize::visible(&line.text);
            write!(frame, "{style}{text}{style:#}")?;
            frame.queue(terminal::Clear(terminal::ClearType::UntilNewLine))?;
        }
        frame.queue(terminal::Clear(terminal::ClearType::FromCursorDown))?;
        let mut err = io::stderr().lock();
        err.write_all(&frame)?;
        err.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Waits for what comes next; `None` when the terminal is no longer ours.
pub(super) fn next() -> io::Result<Option<Input>> {
    while OURS.load(Ordering::Acquire) {
        if !event::poll(GLANCE)? {
            continue;
        }
        match event::read()? {
            Event::Resize(..) => return Ok(Some(Input::Resized)),
            Event::Key(pressed) if pressed.kind != KeyEventKind::Release => {
                if let Some(key) = key(pressed) {
                    return Ok(Some(Input::Key(key)));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

fn key(pressed: KeyEvent) -> Option<Key> {
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c' | 'd' | 'g') if control => Key::Cancel,
        KeyCode::Char('p' | 'k') if control => Key::Up,
        KeyCode::Char('n' | 'j') if control => Key::Down,
        KeyCode::Char('u' | 'w') if control => Key::Clear,
        KeyCode::Char('h') if control => Key::Backspace,
        KeyCode::Char('m') if control => Key::Enter,
        KeyCode::Char(c) if !control => Key::Character(c),
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Cancel,
        _ => return None,
    })
}

/// Once is enough, however often and from wherever it is called.
fn give_back() {
    if OURS.swap(false, Ordering::AcqRel) {
        let mut err = io::stderr();
        let _ = err.queue(cursor::Show);
        let _ = err.queue(terminal::LeaveAlternateScreen);
        let _ = err.flush();
        let _ = terminal::disable_raw_mode();
    }
}

/// The release build ends where it panics, and drops nothing.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            give_back();
            before(what);
        }));
    });
}
