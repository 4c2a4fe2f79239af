//! The host picker: choose a host on a terminal.
//!
//! nucleo-picker and inquire were considered: neither filters by data centre besides the search,
//! and the list must stay fast with 50,000 hosts.

mod context;
pub(crate) mod list;
mod run;
mod screen;
mod state;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::Host;
use crate::ui::ask::Interaction;
use crate::ui::sanitize;

pub(crate) use context::PickerContext;
use state::Picker;

/// Returns the chosen host; if vctl may not prompt, an error that lists the hosts.
pub(crate) async fn choose(
    hosts: Vec<Host>,
    known: &PickerContext,
    interaction: Interaction,
) -> Result<Host, Stop> {
    if hosts.is_empty() {
        let error = CliError::new(Exit::NotFound, "there are no hosts to choose from");
        return Err(error
            .hint("`vctl sync` and `vctl add` fill the inventory")
            .into());
    }
    if let Some(reason) = interaction.refusal() {
        return Err(not_chosen(&hosts, reason).into());
    }
    let mut picker = Picker::new(hosts, known);
    let index = run::run(&mut picker, "hosts").await?;
    Ok(picker.into_host(index))
}

/// Maximum number of hosts in an error.
const MOST: usize = 20;

fn not_chosen(hosts: &[Host], reason: &str) -> CliError {
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
        "{} hosts match, and {reason}: {}{more}",
        hosts.len(),
        names.join(", ")
    );
    CliError::new(Exit::NotFound, message).hint("give the exact name of a host")
}
