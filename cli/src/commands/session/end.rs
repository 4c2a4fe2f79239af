//! `vctl session end`

use std::time::Duration;

use tokio::time::sleep;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError, Pool};
use vctl_common::time::wall_now;

use crate::centre::context;
use crate::commands::{duration_arg, reason_arg};
use crate::completion;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::fleet::model::SILENT_AFTER;
use crate::session::end::messages;
use crate::session::end::store::{self, EndableSession, RequestState};
use crate::session::model::{Selector, SessionName};
use crate::ui::ask::confirmed;
use crate::ui::help::TEMPLATE;
use crate::ui::waiting::Waiting;
use crate::ui::{notice, time};

/// Interval between two looks at the request.
const LOOK: Duration = Duration::from_millis(500);
/// Maximum number of candidates that an ambiguous prefix lists.
const MOST_CANDIDATES: usize = 10;

/// End a live session on its host
///
/// The host's agent ends all processes of the session, also those in the background, and no others: SIGHUP and SIGTERM
/// first, SIGKILL after three seconds. The kernel's mark decides which processes these are. The connection closes. The
/// request, its reason and the result are recorded. Needs the Vault policy `vctl-session-end`.
///
/// The user can log in again. `vctl revoke` ends the access of a user.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl session --live --user albert                   Find the session
  vctl session end 0193f3a1-7c4e                      Ask, then end it
  vctl session end 0193f3a1-7c4e --reason INC-42      Record a reason
  vctl session end 0193f3a1-7c4e --yes --wait 2m      For scripts",
after_help = "\
Exit status: 0 when no process of the session is left, 1 when some are left,
69 when the host did not answer, 77 when the host is configured to refuse.")]
pub(crate) struct EndArgs {
    /// Session id; the beginning is enough if it is unique
    #[arg(value_name = "SESSION ID", add = completion::session())]
    named: SessionName,

    /// Reason for the record
    #[arg(long, value_name = "TEXT", value_parser = reason_arg::reason)]
    reason: Option<String>,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,

    /// Time to wait for the host's answer
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration_arg::wait)]
    wait: Duration,
}

pub(crate) fn run(args: &EndArgs, globals: &Globals) -> Result<(), Stop> {
    let interaction = globals.interaction();
    if !args.yes {
        let hint = "use `--yes` to end it without confirmation";
        interaction.require("ending a session needs confirmation", hint)?;
    }
    let lines = context::run(globals, async |context| {
        let pool = context.pool(DbRole::SessionEnd)?;
        // Dropped before the question: the user may answer after the end of the login's lease.
        let session = find(&context.connect(&pool).await?, args.named).await?;
        if session.closed_at.is_some() {
            let id = session.id;
            return Ok(vec![format!(
                "session {id} on {} has ended already",
                session.host
            )]);
        }
        if let Some(doubt) = messages::doubt(&session, SILENT_AFTER) {
            notice::note(&doubt);
        }
        let described = messages::described(&session, wall_now());
        let question = format!("End session {} of {described}?", session.id);
        if !args.yes && !confirmed(interaction, &question).await? {
            return Ok(vec!["no session was ended".to_owned()]);
        }
        let name = context.display_name().await?;
        let reason = args.reason.as_deref();
        let requested = async {
            let client = context.connect(&pool).await?;
            store::request(&client, &name, session.id, reason).await
        };
        let (request, is_new) = match requested.await {
            Ok(requested) => requested,
            Err(error) if store::is_over(&error) => {
                let (id, host) = (session.id, &session.host);
                return Ok(vec![format!("session {id} on {host} has ended meanwhile")]);
            }
            Err(error) => {
                let message = format!("the end of session {} cannot be requested", session.id);
                return Err(CliError::centre(message, &error).into());
            }
        };
        await_answer(&pool, &session, request, is_new, args.wait).await
    })?;
    for line in lines {
        notice::note(&line);
    }
    Ok(())
}

/// Returns the one session that the argument means.
async fn find(client: &Client, named: SessionName) -> Result<EndableSession, Stop> {
    let range = match named {
        SessionName::Whole(Selector::Id(id)) => (id, id),
        SessionName::Prefix(prefix) => prefix.range(),
        SessionName::Whole(Selector::Serial(serial)) => {
            let message = format!(
                "`{serial}` is the serial of a certificate, which may have several sessions"
            );
            let hint = format!("`vctl session {serial}` shows their ids");
            return Err(CliError::new(Exit::Usage, message).hint(hint).into());
        }
    };
    let mut found = store::sessions(client, range).await?;
    if found.len() > 1 {
        let now = wall_now();
        let candidates = found.iter().take(MOST_CANDIDATES);
        let candidates =
            candidates.map(|one| format!("`{}` ({})", one.id, messages::described(one, now)));
        let hint = format!(
            "add digits to name one of them: {}",
            candidates.collect::<Vec<_>>().join(", ")
        );
        let message = "several session ids begin like this";
        return Err(CliError::new(Exit::Usage, message).hint(hint).into());
    }
    found.pop().ok_or_else(|| {
        let message = "no session with this id is in the central store";
        let hint = "`vctl session --live` lists the sessions that run now";
        CliError::new(Exit::NotFound, message).hint(hint).into()
    })
}

/// Returns the state of a request. The wait may be longer than the lease of one login to the database.
async fn look(pool: &Pool, request: i64) -> Result<Option<RequestState>, PgError> {
    let client = pool.get().await?;
    store::state(&client, request).await
}

/// Waits for the answer of the host, with a progress line on a terminal.
async fn await_answer(
    pool: &Pool,
    session: &EndableSession,
    request: i64,
    is_new: bool,
    wait: Duration,
) -> Result<Vec<String>, Stop> {
    let waiting = Waiting::begin();
    let mut was_noted = is_new;
    loop {
        let state = match look(pool, request).await {
            Err(error) if error.is_retryable() && waiting.elapsed() < wait => {
                sleep(LOOK).await;
                continue;
            }
            Err(error) => {
                waiting.clear();
                let id = session.id;
                let message =
                    format!("the end of session {id} is requested, but the answer cannot be read");
                let hint = format!("`vctl session end {id}` waits for the same request again");
                return Err(CliError::centre(message, &error).hint(hint).into());
            }
            Ok(state) => state,
        };
        let state = state.ok_or_else(|| CliError::new(Exit::Failure, "the request is gone"))?;
        if !was_noted {
            was_noted = true;
            let at = state
                .requested_at
                .map_or_else(String::new, |at| format!(" at {}", time::seconds(at)));
            notice::note(&format!(
                "{} requested this before{at}; waiting for that answer",
                state.requested_by
            ));
        }
        if let Some(answer) = &state.answer {
            waiting.clear();
            return Ok(messages::answered(session, answer)?);
        }
        if waiting.elapsed() >= wait {
            waiting.clear();
            return Err(messages::unanswered(session, wait, state.is_taken).into());
        }
        let doing = if state.is_taken {
            "to end the session"
        } else {
            "to take the request"
        };
        waiting.show(&format!("{} {doing}", session.host));
        sleep(LOOK).await;
    }
}
