//! The table of `vctl sync --dry-run`: one line per host that would be imported.

use std::io::{self, Write as _};
use std::net::SocketAddr;

use super::outcome::ImportOutcome;
use super::planned_host::PlannedHost;
use crate::ui::Screen;
use crate::ui::columns::Columns;

const PLAN: Columns<6> = Columns {
    names: ["PLAN", "HOST", "ADDRESS", "DC", "JUMP", "SSH PORT"],
    elastic: &[1, 2, 3, 4],
    spare: &[],
};

/// The lines of the table.
#[derive(Default)]
pub(crate) struct DryRun {
    rows: Vec<[String; 6]>,
}

impl DryRun {
    pub(crate) fn add(
        &mut self,
        host: &PlannedHost,
        outcome: ImportOutcome,
        dc: String,
        answered: bool,
    ) {
        let word = match outcome {
            ImportOutcome::Added => "add",
            ImportOutcome::Changed => "change",
            ImportOutcome::Unchanged => "keep",
        };
        self.rows.push([
            word.to_owned(),
            host.name.clone(),
            SocketAddr::new(host.ip, host.port).to_string(),
            dc,
            host.jump.clone().unwrap_or_else(|| "direct".to_owned()),
            if answered { "up" } else { "down" }.to_owned(),
        ]);
    }

    /// Prints the table, unless it is empty.
    pub(crate) fn print(&self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut screen = Screen::for_people();
        let layout = screen.layout(false);
        PLAN.write(&mut screen, &self.rows, layout)?;
        screen.flush()
    }
}
