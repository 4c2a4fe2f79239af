//! The steps of a revocation. A step that fails is noted, and the next ones follow: each one alone limits the user.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use vctl_common::causes::WithCauses;
use vctl_common::centre::DbRole;
use vctl_common::count::counted;
use vctl_common::pg::{Client, PgError};
use vctl_common::time::wall_now;

use super::tokens::UserTokens;
use super::user::{self, RevokedUser};
use super::{krl, store, words};
use crate::centre::context::Context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::private_file::{self, Access};
use crate::session::end::store::{self as end_store, EndableSession};
use crate::session::end::words as end_words;
use crate::ui::notice;

/// Interval between two looks at a state.
const LOOK: Duration = Duration::from_millis(500);
/// Longest wait for the end of the database logins. Vault drops the logins of revoked tokens one after the other.
const DROPPING: Duration = Duration::from_secs(15);
/// Rounds over the live sessions: a certificate may open another one while the first ones end.
const ROUNDS: usize = 3;
/// Permissions of a list for sshd. It contains no secret.
const READABLE: Access = Access {
    mode: 0o644,
    owner: None,
    group: None,
};

/// One revocation: the known access of a user, and the parts that were not reached.
pub(crate) struct Revocation<'a> {
    context: &'a Context,
    /// `None`: Postgres is away.
    client: Option<Client>,
    user: RevokedUser,
    tokens: UserTokens,
    sessions: Vec<EndableSession>,
    serials: BTreeSet<u64>,
    missed: Vec<String>,
}

/// The counts of the record.
#[derive(Debug, Default)]
struct Counts {
    tokens: usize,
    sessions: usize,
}

impl<'a> Revocation<'a> {
    /// Finds the tokens, live sessions and certificates of a user. Changes nothing.
    pub(crate) async fn find(context: &'a Context, name: &str) -> Result<Self, Stop> {
        if user::is_shared(name) {
            let message = format!("tokens of several users or machines have the name `{name}`");
            let hint = "revoke a token by its accessor, or destroy the secret id of the machine: deploy/vault/README.md";
            return Err(CliError::new(Exit::Usage, message).hint(hint).into());
        }
        let vault = context.vault();
        let own = vault.lookup_self().await.map_err(CliError::from)?;
        let user = user::find(vault, name).await?;
        if user.entity.is_some() && user.entity == own.entity_id {
            let message = "this would revoke your own access, and this command could not finish";
            let hint =
                "`vctl logout` ends your login; ask another user with the policy `vctl-revoke`";
            return Err(CliError::new(Exit::Usage, message).hint(hint).into());
        }
        let mut missed = Vec::new();
        let pool = context.pool(DbRole::Revoke)?;
        let client = match context.connect(&pool).await {
            Ok(client) => Some(client),
            Err(error) if error.is_away() && !error.is_vault_away() => {
                missed.push(format!(
                    "sessions, certificates, record: {}",
                    WithCauses(&error)
                ));
                None
            }
            Err(error) => return Err(error.into()),
        };
        let mut found = Self {
            context,
            client,
            user,
            tokens: UserTokens::default(),
            sessions: Vec::new(),
            serials: BTreeSet::new(),
            missed,
        };
        found.scan_tokens().await?;
        found.read_records().await?;
        let has_records = !found.sessions.is_empty() || !found.serials.is_empty();
        if found.user.entity.is_none() && !has_records {
            return Err(words::unknown(name).into());
        }
        Ok(found)
    }

    /// Prints the access that would be revoked.
    pub(crate) fn print_plan(&self) {
        let records = self.client.as_ref();
        let found = words::Found {
            tokens: self.tokens.accessors.len(),
            records: records.map(|_| (self.sessions.as_slice(), self.serials.len())),
        };
        for line in words::plan(&self.user, found, wall_now()) {
            notice::note(&line);
        }
    }

    pub(crate) fn names(&self) -> String {
        words::names(&self.user)
    }

    /// Does all steps.
    ///
    /// # Errors
    /// Lists the parts that were not reached.
    pub(crate) async fn revoke(
        mut self,
        reason: Option<&str>,
        wait: Duration,
        krl: Option<&Path>,
    ) -> Result<(), Stop> {
        let record = self.begin_record(reason).await;
        let mut counts = Counts::default();
        self.disable().await;
        counts.tokens = self.revoke_tokens().await;
        self.await_logins().await;
        counts.sessions = self.end_sessions(reason, wait).await;
        match (krl, &self.client) {
            (Some(path), Some(client)) => match write_krl(client, path).await {
                Ok(()) => {}
                Err(Stop::Error(error)) => {
                    self.missed
                        .push(format!("list for sshd: {}", error.message));
                }
                Err(stop) => return Err(stop),
            },
            (Some(_), None) => self
                .missed
                .push("list for sshd: Postgres is away".to_owned()),
            (None, _) => notice::note(&words::certificates_stay_valid()),
        }
        if let (Some(client), Some(record)) = (&self.client, record) {
            let outcome = json!({
                "tokens_revoked": counts.tokens,
                "sessions_ended": counts.sessions,
                "certificates_of_last_day": self.serials.len(),
                "missed": self.missed.iter().map(|one| cut(one)).collect::<Vec<_>>(),
            });
            if let Err(error) = store::finish(client, record, &outcome).await {
                self.missed.push(format!("record: {}", WithCauses(&error)));
            }
        }
        if self.missed.is_empty() {
            notice::done(&format!("the access of {} is revoked", self.names()));
            return Ok(());
        }
        Err(words::incomplete(&self.user, self.missed).into())
    }

    async fn scan_tokens(&mut self) -> Result<(), CliError> {
        let Some(entity) = &self.user.entity else {
            return Ok(());
        };
        self.tokens.scan(self.context.vault(), entity).await?;
        for name in &self.tokens.names {
            self.user.add_name(name);
        }
        Ok(())
    }

    async fn read_records(&mut self) -> Result<(), PgError> {
        if let Some(client) = &self.client {
            self.sessions = store::sessions(client, &self.user.names).await?;
            self.serials = store::certificates(client, &self.user.names).await?;
        }
        Ok(())
    }

    async fn begin_record(&mut self, reason: Option<&str>) -> Option<i64> {
        let client = self.client.as_ref()?;
        let recorded = match self.context.display_name().await {
            Ok(name) => store::begin(client, &name, &self.user, reason)
                .await
                .map_err(|error| WithCauses(&error).to_string()),
            Err(error) => Err(error.message),
        };
        match recorded {
            Ok(record) => Some(record),
            Err(problem) => {
                self.missed.push(format!("record: {problem}"));
                None
            }
        }
    }

    async fn disable(&mut self) {
        let Some(entity) = &self.user.entity else {
            return;
        };
        match user::disable(self.context.vault(), entity).await {
            Ok(()) => {
                notice::note("disabled in Vault: it refuses all logins and tokens of the user");
            }
            Err(error) => self
                .missed
                .push(format!("disabling the user: {}", WithCauses(&error))),
        }
    }

    async fn revoke_tokens(&mut self) -> usize {
        // Again: a login may have come while the question waited.
        if let Err(error) = self.scan_tokens().await {
            self.missed.push(format!("tokens: {}", error.message));
            return 0;
        }
        if self.tokens.unread > 0 {
            self.missed.push(format!(
                "{} that Vault lists and cannot show",
                counted(self.tokens.unread, "token")
            ));
        }
        let revoked = match self.tokens.revoke(self.context.vault()).await {
            Ok(revoked) => revoked,
            Err(error) => {
                self.missed.push(format!("tokens: {}", WithCauses(&error)));
                return 0;
            }
        };
        if self.user.entity.is_some() {
            notice::note(&format!("{} revoked", counted(revoked.count, "token")));
        }
        if revoked.left > 0 {
            let problem = revoked
                .problem
                .map_or_else(String::new, |error| format!(": {}", WithCauses(&error)));
            self.missed
                .push(format!("{} left{problem}", counted(revoked.left, "token")));
        }
        revoked.count
    }

    /// Waits until Vault has dropped the database logins, and with them their connections.
    async fn await_logins(&mut self) {
        let Some(client) = &self.client else { return };
        let begun = Instant::now();
        loop {
            match store::logins(client, &self.user.names).await {
                Ok(0) => return notice::note("no database login of the user is left"),
                Ok(left) if begun.elapsed() >= DROPPING => {
                    let left = counted(left, "database login");
                    return self.missed.push(format!(
                        "{left} left: Vault drops them later, or when they expire"
                    ));
                }
                Ok(_) => sleep(LOOK).await,
                Err(error) => {
                    return self
                        .missed
                        .push(format!("database logins: {}", WithCauses(&error)));
                }
            }
        }
    }

    /// Requests the end of each live session, and waits for the hosts. Returns how many ended.
    async fn end_sessions(&mut self, reason: Option<&str>, wait: Duration) -> usize {
        let mut ended = 0;
        let mut requested = BTreeSet::new();
        for _ in 0..ROUNDS {
            if let Err(error) = self.read_records().await {
                self.missed
                    .push(format!("sessions: {}", WithCauses(&error)));
                break;
            }
            let sessions = std::mem::take(&mut self.sessions).into_iter();
            let new: Vec<_> = sessions
                .filter(|session| requested.insert(session.id))
                .collect();
            if new.is_empty() {
                break;
            }
            ended += self.end_round(new, reason, wait).await;
        }
        ended
    }

    async fn end_round(
        &mut self,
        sessions: Vec<EndableSession>,
        reason: Option<&str>,
        wait: Duration,
    ) -> usize {
        let Some(client) = &self.client else { return 0 };
        let name = self.context.display_name().await.unwrap_or_default();
        let mut open = BTreeMap::new();
        for session in sessions {
            match end_store::request(client, &name, session.id, reason).await {
                Ok((request, _)) => {
                    open.insert(request, session);
                }
                // It has ended meanwhile.
                Err(error)
                    if error
                        .db_error()
                        .is_some_and(|db| db.code().code() == "P0002") => {}
                Err(error) => {
                    self.missed
                        .push(format!("session {}: {}", session.id, WithCauses(&error)));
                }
            }
        }
        let begun = Instant::now();
        let mut ended = 0;
        while !open.is_empty() {
            let is_late = begun.elapsed() >= wait;
            for request in open.keys().copied().collect::<Vec<_>>() {
                let state = end_store::state(client, request).await.ok().flatten();
                let is_taken = state.as_ref().is_some_and(|state| state.is_taken);
                let answer = state.and_then(|state| state.answer);
                if answer.is_none() && !is_late {
                    continue;
                }
                let Some(session) = open.remove(&request) else {
                    continue;
                };
                let result = match &answer {
                    Some(answer) => end_words::answered(&session, answer),
                    None => Err(end_words::unanswered(&session, wait, is_taken)),
                };
                match result {
                    Ok(lines) => {
                        ended += 1;
                        for line in &lines {
                            notice::note(line);
                        }
                    }
                    Err(error) => {
                        let causes = [vec![error.message], error.causes].concat().join(": ");
                        self.missed
                            .push(format!("session {}: {causes}", session.id));
                    }
                }
            }
            sleep(LOOK).await;
        }
        ended
    }
}

/// Writes the list for sshd: the certificates of all users whose access was revoked in the last day.
pub(crate) async fn write_krl(client: &Client, path: &Path) -> Result<(), Stop> {
    let names = store::revoked_names(client).await?;
    let serials = store::certificates(client, &names).await?;
    let made_at = wall_now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let list = krl::encode(&serials, &names, made_at, "vctl revoke");
    // sshd refuses every key while it cannot read the file, so the file is replaced as a whole.
    let written = private_file::replace_for(path, READABLE, |file| file.write_all(&list));
    written.map_err(|error| {
        let message = format!("cannot write the list `{}`", path.display());
        CliError::new(Exit::Failure, message).caused_by(&error)
    })?;
    let size = fs::metadata(path).map_or(0, |metadata| metadata.len());
    notice::note(&format!(
        "`{}` has {} and {} in {size} bytes: install it on each host, docs/live.md",
        path.display(),
        counted(serials.len(), "certificate"),
        counted(names.len(), "key id"),
    ));
    Ok(())
}

/// Cuts a text to the size that the record accepts.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}
