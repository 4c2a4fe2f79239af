//! The terminal of a picker: raw mode and alternate screen, restored in every case.

use std::io::{self, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anstyle::{Effects, Style};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{QueueableCommand as _, cursor, terminal};

use super::state::{PickerKey, ScreenLine};
use crate::ui::{DIM, sanitize};

const CURSOR_STYLE: Style = Style::new().effects(Effects::INVERT);

/// Interval to check whether the picker has ended while waiting for a key.
const POLL: Duration = Duration::from_millis(50);

/// Whether the terminal is in the state of the picker.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// An event that needs a new frame.
pub(super) enum Input {
    Key(PickerKey),
    Resized,
}

/// Holds the terminal; restores it on drop.
pub(super) struct PickerScreen(());

impl PickerScreen {
    pub(super) fn take() -> io::Result<Self> {
        restore_on_panic();
        terminal::enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::Release);
        let screen = Self(());
        let mut err = io::stderr();
        err.queue(terminal::EnterAlternateScreen)?
            .queue(cursor::Hide)?
            .flush()?;
        Ok(screen)
    }

    /// Draws a frame of the lines that `lines` returns for the size of the terminal.
    #[expect(clippy::unused_self, reason = "drawing needs the screen")]
    pub(super) fn draw(
        &self,
        lines: impl FnOnce(usize, usize) -> Vec<ScreenLine>,
    ) -> io::Result<()> {
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        // Some terminals report a size of zero.
        let (columns, rows) = (usize::from(columns.max(1)), usize::from(rows.max(1)));
        // Written at once, to avoid flicker.
        let mut frame: Vec<u8> = Vec::new();
        frame.queue(cursor::MoveTo(0, 0))?;
        for (index, line) in lines(columns, rows).iter().enumerate() {
            if index > 0 {
                frame.write_all(b"\r\n")?;
            }
            let style = match line {
                ScreenLine { is_here: true, .. } => CURSOR_STYLE,
                ScreenLine { is_dim: true, .. } => DIM,
                ScreenLine { .. } => Style::new(),
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

impl Drop for PickerScreen {
    fn drop(&mut self) {
        restore();
    }
}

/// Waits for the next event; `None` if the picker has ended.
pub(super) fn next() -> io::Result<Option<Input>> {
    while IS_TAKEN.load(Ordering::Acquire) {
        if !event::poll(POLL)? {
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

fn key(pressed: KeyEvent) -> Option<PickerKey> {
    let control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c' | 'd' | 'g') if control => PickerKey::Cancel,
        KeyCode::Char('p' | 'k') if control => PickerKey::Up,
        KeyCode::Char('n' | 'j') if control => PickerKey::Down,
        KeyCode::Char('u' | 'w') if control => PickerKey::Clear,
        KeyCode::Char('h') if control => PickerKey::Backspace,
        KeyCode::Char('m') if control => PickerKey::Enter,
        KeyCode::Char(c) if !control => PickerKey::Character(c),
        KeyCode::Backspace => PickerKey::Backspace,
        KeyCode::Up => PickerKey::Up,
        KeyCode::Down => PickerKey::Down,
        KeyCode::PageUp => PickerKey::PageUp,
        KeyCode::PageDown => PickerKey::PageDown,
        KeyCode::Home => PickerKey::First,
        KeyCode::End => PickerKey::Last,
        KeyCode::Left => PickerKey::Left,
        KeyCode::Right => PickerKey::Right,
        KeyCode::Enter => PickerKey::Enter,
        KeyCode::Esc => PickerKey::Cancel,
        _ => return None,
    })
}

/// Restores the terminal. Further calls do nothing.
fn restore() {
    if IS_TAKEN.swap(false, Ordering::AcqRel) {
        let mut err = io::stderr();
        let _ = err.queue(cursor::Show);
        let _ = err.queue(terminal::LeaveAlternateScreen);
        let _ = err.flush();
        let _ = terminal::disable_raw_mode();
    }
}

/// Restores the terminal on a panic: the release build aborts without running destructors.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            restore();
            before(what);
        }));
    });
}
