//! `vctl session --live`

use std::collections::BTreeSet;
use std::io::Write as _;

use vctl_common::time::wall_now;

use super::args::SessionArgs;
use super::write_notes;
use crate::centre::context::Context;
use crate::error::Stop;
use crate::session::centre::Store;
use crate::session::json::running::RunningSessions;
use crate::session::model::running::RunningSession;
use crate::session::text::running;
use crate::ui::format::OutputFormat;
use crate::ui::{Screen, notice, records};

/// Prints the sessions that run now, and names the hosts that are silent.
pub(super) async fn run(args: &SessionArgs, context: &Context) -> Result<(), Stop> {
    let format = args.format()?;
    let mut store = Store::new(context)?;
    let sessions = store.running(&args.filter()).await?;
    write_notes(store.take_notes());
    if !format.is_for_people() {
        let mut screen = Screen::for_programs();
        records::write(&mut screen, format, &RunningSessions, &sessions)?;
        return Ok(screen.flush()?);
    }
    if sessions.is_empty() {
        notice::note("no matching session runs now");
        return Ok(());
    }
    let mut screen = Screen::for_people();
    let layout = screen.layout(args.full || format == OutputFormat::Wide);
    running::write(&mut screen, &sessions, wall_now(), layout)?;
    screen.flush()?;
    if let Some(note) = silent_hosts(&sessions) {
        notice::note(&note);
    }
    Ok(())
}

/// Returns a note with the silent hosts: a session on one of them may have ended.
fn silent_hosts(sessions: &[RunningSession]) -> Option<String> {
    let silent = sessions.iter().filter(|running| running.is_silent());
    let hosts: BTreeSet<&str> = silent
        .map(|running| &*running.listed.session.host)
        .collect();
    let names = hosts.into_iter().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| {
        format!("no report for ten minutes or more from {names}: these sessions may have ended")
    })
}
