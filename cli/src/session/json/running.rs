//! Running sessions as JSON: as in a list, with the last command and the state of the host.

use serde::Serialize;

use super::VERSION;
use super::session::{LiveFacts, session_json};
use crate::session::model::running::RunningSession;
use crate::ui::records::Records;

/// Running sessions, for every output format.
pub(crate) struct RunningSessions;

impl Records for RunningSessions {
    const NAME: &'static str = "sessions";
    const VERSION: u32 = VERSION;
    const COLUMNS: &'static [&'static str] = &[
        "session_id",
        "host",
        "person",
        "login_user",
        "source_ip",
        "serial",
        "certificate.key_id",
        "opened_at",
        "commands",
        "verified",
        "verification",
        "live.last_command.time",
        "live.last_command.argv",
        "live.host_seen_age_s",
        "live.host_silent",
    ];
    type Record = RunningSession;

    fn json(&self, running: &RunningSession) -> impl Serialize {
        let listed = &running.listed;
        let facts = LiveFacts::new(running);
        session_json(&listed.session)
            .listed(listed.commands)
            .running(facts)
    }

    fn name(&self, running: &RunningSession) -> String {
        running.listed.session.opened.id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::fixture::{Login, rendered};
    use crate::session::model::ListedSession;
    use crate::ui::format::OutputFormat;
    use crate::ui::json::schema;
    use crate::ui::records;

    use super::*;

    #[test]
    fn running_sessions_fit_the_schema() {
        let mut login = Login::of_alice().exec(4102, 4101, &["ls", "-l"]).open();
        let running = |last_command, host_seen| RunningSession {
            listed: ListedSession {
                session: Login::of_alice().open().session,
                commands: 1,
            },
            last_command,
            host_seen,
        };
        let sessions = [
            running(login.events.pop(), Some(Duration::from_secs(3))),
            running(None, None),
        ];
        for format in [OutputFormat::Json, OutputFormat::Csv] {
            let text = rendered(|out| records::write(out, format, &RunningSessions, &sessions));
            if format == OutputFormat::Csv {
                assert!(text.contains("ls"), "{text}");
                continue;
            }
            let document = serde_json::from_str(&text).unwrap();
            schema::assert_fits(schema::OF_SESSIONS, None, &document);
        }
    }
}
