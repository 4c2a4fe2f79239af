//! Choosing one host of many, on a terminal.
//!
//! nucleo-picker and inquire were considered: neither filters by data centre besides the search,
//! and the list must stay fast with 50,000 hosts.

mod screen;
mod state;

use std::io;
use std::time::SystemTime;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::Host;
use crate::ui::ask::Interaction;
use crate::ui::sanitize;

use screen::{Input, Screen};
use state::{Picker, Step};

/// What is known of the hosts to choose from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The clock of the database, by which hosts are up; `None` for cached hosts.
    pub(crate) now: Option<SystemTime>,
    /// Hosts that were used on this machine, the last one first.
    pub(crate) recent: Vec<String>,
}

/// Returns the chosen host; without a terminal an error that lists them.
///
/// It is drawn on stderr: stdout has nothing but what the command is asked for.
pub(crate) async fn choose(
    hosts: Vec<Host>,
    known: &Known,
    interaction: Interaction,
) -> Result<Host, Stop> {
    if hosts.is_empty() {
        let error = CliError::new(Exit::NotFound, "there is no host to choose from");
        return Err(error
            .hint("`vctl sync` and `vctl add` fill the inventory")
            .into());
    }
    if interaction == Interaction::Never {
        return Err(nobody_to_ask(&hosts).into());
    }
    let failed = |error: &io::Error| {
        CliError::new(Exit::Failure, "cannot show the hosts on this terminal").caused_by(error)
    };
    let mut picker = Picker::new(hosts, known);
    // Given back when this future ends, however it ends.
    let screen = Screen::take().map_err(|error| failed(&error))?;
    loop {
        let drawn = screen.draw(|columns, rows| picker.draw(columns, rows));
        drawn.map_err(|error| failed(&error))?;
        // On a thread of its own, so that signals are heard meanwhile.
        let input = tokio::task::spawn_blocking(screen::next).await;
        let input = input.map_err(io::Error::other).and_then(|input| input);
        let key = match input.map_err(|error| failed(&error))? {
            Some(Input::Key(key)) => key,
            Some(Input::Resized) => continue,
            None => return Err(Stop::Interrupted),
        };
        match picker.press(key) {
            Step::Stay => {}
            Step::Cancelled => return Err(Stop::Interrupted),
            Step::Chosen(index) => return Ok(picker.into_host(index)),
        }
    }
}

/// More are not read in an error.
const MOST: usize = 20;

fn nobody_to_ask(hosts: &[Host]) -> CliError {
    let names = hosts
        .iter()
        .take(MOST)
        .map(|host| sanitize::text(&host.name));
    let names: Vec<String> = names.collect();
    let more = match hosts.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "{} hosts match, and there is no terminal to choose on: {}{more}",
        hosts.len(),
        names.join(", ")
    );
    CliError::new(Exit::NotFound, message).hint("give the whole name of one")
}
