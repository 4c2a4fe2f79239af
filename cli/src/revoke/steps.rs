//! The steps of a revocation. A step that fails is noted, and the next ones follow: each one alone limits the user.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;
use vctl_common::causes::WithCauses;
use vctl_common::centre::DbRole;
use vctl_common::count::{counted, form};
use vctl_common::pg::{PgError, Pool};
use vctl_common::time::wall_now;

use super::live_sessions::{self, Requests};
use super::outcome::{Counts, continued_as, outcome};
use super::tokens::UserTokens;
use super::user::{self, RevokedUser};
use super::{LOOK, messages, patiently, sshd_list, store};
use crate::centre::context::Context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::session::end::store::EndableSession;
use crate::ui::notice;
use crate::ui::waiting::Waiting;

/// Longest wait for the end of the database logins. Vault drops the logins of revoked tokens one after the other.
const DROPPING: Duration = Duration::from_secs(15);

/// Longest wait for a Postgres that is away when the outcome is recorded.
const RECORDING: Duration = Duration::from_secs(15);

/// One revocation: the known access of a user, and the parts that were not reached.
pub(crate) struct Revocation<'a> {
    context: &'a Context,
    /// Each step takes a connection from it: the command may wait longer than the lease of one login. `None`: Postgres is
    /// away.
    records: Option<Pool>,
    user: RevokedUser,
    tokens: UserTokens,
    sessions: Vec<EndableSession>,
    serials: BTreeSet<u64>,
    missed: Vec<String>,
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
        let records = match context.connect(&pool).await {
            Ok(_) => Some(pool),
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
            records,
            user,
            tokens: UserTokens::new(own.accessor),
            sessions: Vec::new(),
            serials: BTreeSet::new(),
            missed,
        };
        found.scan_tokens().await?;
        found.read_records().await?;
        let has_records = !found.sessions.is_empty() || !found.serials.is_empty();
        if found.user.entity.is_none() && !has_records {
            return Err(messages::unknown(name).into());
        }
        Ok(found)
    }

    /// Prints the access that would be revoked.
    pub(crate) fn print_plan(&self) {
        let records = self.records.as_ref();
        let found = messages::Found {
            tokens: self.tokens.accessors.len(),
            records: records.map(|_| (self.sessions.as_slice(), self.serials.len())),
        };
        for line in messages::plan(&self.user, found, wall_now()) {
            notice::note(&line);
        }
    }

    pub(crate) fn names(&self) -> String {
        messages::names(&self.user)
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
        let first = self.begin_record(reason).await;
        let recorded = self.user.names.clone();
        self.disable().await;
        let tokens = self.revoke_tokens().await;
        let mut record = first;
        if self.user.names != recorded {
            // A row does not change, so another one has all names.
            record = self.begin_record(reason).await.or(first);
        }
        self.read_certificates().await;
        // Before the waits for hosts and logins: a certificate opens new sessions until the list is installed.
        self.write_list(krl).await;
        let sessions = self.end_sessions(reason, wait).await;
        self.await_logins().await;
        self.state_shared_names().await;
        let counts = Counts {
            tokens,
            sessions,
            certificates: self.serials.len(),
        };
        if let Some(record) = record {
            let outcome = outcome(counts, &self.missed);
            self.finish_record(record, reason, &outcome).await;
            if let Some(first) = first.filter(|first| *first != record) {
                self.refer_record(first, record).await;
            }
        }
        if self.missed.is_empty() {
            notice::done(&format!("the access of {} is revoked", self.names()));
            return Ok(());
        }
        Err(messages::incomplete(&self.user, self.missed).into())
    }

    async fn scan_tokens(&mut self) -> Result<(), CliError> {
        let Some(entity) = &self.user.entity else {
            return Ok(());
        };
        let waiting = Waiting::begin();
        waiting.show("the tokens of Vault");
        let scanned = self.tokens.scan(self.context.vault(), entity).await;
        waiting.clear();
        scanned?;
        for name in &self.tokens.names {
            self.user.add_name(name);
        }
        Ok(())
    }

    async fn read_records(&mut self) -> Result<(), PgError> {
        if let Some(pool) = &self.records {
            let client = pool.get().await?;
            self.sessions = store::sessions(&client, &self.user.names).await?;
            self.serials = store::certificates(&client, &self.user.names).await?;
        }
        Ok(())
    }

    async fn begin_record(&mut self, reason: Option<&str>) -> Option<i64> {
        let pool = self.records.as_ref()?;
        let recorded = match self.context.display_name().await {
            Ok(name) => {
                let begin =
                    async |client: &_| store::begin(client, &name, &self.user, reason).await;
                pool.with(begin)
                    .await
                    .map_err(|error| WithCauses(&error).to_string())
            }
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

    /// Records the outcome: in a second record if the database login that began the first one has ended meanwhile, because
    /// only that login can change it.
    async fn finish_record(&mut self, record: i64, reason: Option<&str>, outcome: &Value) {
        let Some(pool) = &self.records else { return };
        let name = self.context.known_display_name().unwrap_or_default();
        let finishing = async |client: &_| {
            if store::finish(client, record, outcome).await? {
                return Ok(true);
            }
            let again = store::begin(client, name, &self.user, reason).await?;
            store::finish(client, again, outcome).await
        };
        if let Err(error) = patiently(pool, RECORDING, finishing).await {
            self.missed.push(format!("record: {}", WithCauses(&error)));
        }
    }

    /// Names the record that replaces the first one. Without its login, the first one stays as it is.
    async fn refer_record(&mut self, first: i64, record: i64) {
        let Some(pool) = &self.records else { return };
        let outcome = continued_as(record);
        let referring = async |client: &_| store::finish(client, first, &outcome).await;
        if let Err(error) = patiently(pool, RECORDING, referring).await {
            self.missed.push(format!("record: {}", WithCauses(&error)));
        }
    }

    /// Reads the certificates again: a login may have got one while the question waited. Revoked tokens get no others.
    async fn read_certificates(&mut self) {
        let Some(pool) = &self.records else { return };
        let read = async |client: &_| store::certificates(client, &self.user.names).await;
        match pool.with(read).await {
            Ok(serials) => self.serials = serials,
            Err(error) => self
                .missed
                .push(format!("number of certificates: {}", WithCauses(&error))),
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
            let problem = format!("tokens of new logins: {}", error.one_line());
            self.missed.push(problem);
        }
        if let Some(error) = self.tokens.unread.first() {
            self.missed.push(format!(
                "{} could not be looked up, although Vault lists {}: {}",
                counted(self.tokens.unread.len(), "token"),
                form(self.tokens.unread.len(), "it", "them"),
                WithCauses(error)
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

    /// Writes the list for sshd, if the command has a path for it.
    async fn write_list(&mut self, krl: Option<&Path>) {
        let Some(path) = krl else {
            return notice::note(&messages::certificates_stay_valid());
        };
        let problem = match &self.records {
            Some(pool) => {
                let write =
                    async |client: &_| sshd_list::write(client, path, &self.user.names).await;
                pool.with(write).await.map_err(|error| error.one_line())
            }
            None => Err("Postgres is away".to_owned()),
        };
        if let Err(problem) = problem {
            self.missed.push(format!("list for sshd: {problem}"));
        }
    }

    /// Ends the live sessions. Returns how many ended.
    async fn end_sessions(&mut self, reason: Option<&str>, wait: Duration) -> usize {
        let Some(pool) = &self.records else { return 0 };
        let name = match self.context.display_name().await {
            Ok(name) => name,
            Err(error) => {
                self.missed.push(format!("sessions: {}", error.one_line()));
                return 0;
            }
        };
        let requests = Requests {
            by: &name,
            reason,
            wait,
        };
        let ended = live_sessions::end_all(pool, &self.user.names, requests).await;
        self.missed.extend(ended.missed);
        ended.count
    }

    /// Waits until Vault has dropped the database logins, and with them their connections.
    async fn await_logins(&mut self) {
        let Some(pool) = &self.records else { return };
        let waiting = Waiting::begin();
        let problem = loop {
            let count = async |client: &_| store::logins(client, &self.user.names).await;
            match pool.with(count).await {
                Ok(0) => break None,
                Ok(left) if waiting.elapsed() >= DROPPING => {
                    let left = counted(left, "database login");
                    break Some(format!(
                        "{left} left: Vault drops them later, or when they expire"
                    ));
                }
                Ok(left) => {
                    let left = counted(left, "database login");
                    waiting.show(&format!("the end of {left}"));
                    sleep(LOOK).await;
                }
                Err(error) if error.is_retryable() && waiting.elapsed() < DROPPING => {
                    sleep(LOOK).await;
                }
                Err(error) => break Some(format!("database logins: {}", WithCauses(&error))),
            }
        };
        waiting.clear();
        match problem {
            Some(problem) => self.missed.push(problem),
            None => notice::note("no database login of the user is left"),
        }
    }

    /// States what is left under the shared names of the tokens: the records of this user there cannot be told from those
    /// of others, so nothing of them was ended.
    async fn state_shared_names(&mut self) {
        for name in &self.user.shared_names {
            let one = BTreeSet::from([name.clone()]);
            let read = async |client: &_| {
                Ok::<_, PgError>(messages::SharedAccess {
                    sessions: store::sessions(client, &one).await?.len(),
                    certificates: store::certificates(client, &one).await?.len(),
                    logins: store::logins(client, &one).await?,
                })
            };
            let left = match &self.records {
                Some(pool) => pool.with(read).await.ok(),
                None => None,
            };
            self.missed.push(messages::shared_name(name, left));
        }
    }
}
