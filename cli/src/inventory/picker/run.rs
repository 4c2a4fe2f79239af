//! The loop of a picker: draws it on the terminal and gives it the keys of the user.

use std::io;

use super::screen::{self, Input, PickerScreen};
use super::state::{PickerState, PickerStep};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Returns the choice. Draws on stderr, because stdout belongs to the output of the command.
///
/// # Errors
/// The terminal cannot be used; `shown` is what the picker shows.
pub(super) async fn run<P: PickerState>(picker: &mut P, shown: &str) -> Result<P::Choice, Stop> {
    let failed = |error: &io::Error| {
        let message = format!("cannot show the {shown} on this terminal");
        CliError::new(Exit::Failure, message).caused_by(error)
    };
    // Restores the terminal when this future ends, in every case.
    let screen = PickerScreen::take().map_err(|error| failed(&error))?;
    loop {
        let drawn = screen.draw(|columns, rows| picker.draw(columns, rows));
        drawn.map_err(|error| failed(&error))?;
        // In its own thread, so that signals are handled during the read.
        let input = tokio::task::spawn_blocking(screen::next).await;
        let input = input.map_err(io::Error::other).and_then(|input| input);
        let key = match input.map_err(|error| failed(&error))? {
            Some(Input::Key(key)) => key,
            Some(Input::Resized) => continue,
            None => return Err(Stop::Interrupted),
        };
        match picker.press(key) {
            PickerStep::Stay => {}
            PickerStep::Cancelled => return Err(Stop::Interrupted),
            PickerStep::Chosen(choice) => return Ok(choice),
        }
    }
}
