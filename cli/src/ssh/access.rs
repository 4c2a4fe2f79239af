//! The access log: a row for each request, written before a host gets the certificate.
//!
//! While Postgres is unavailable, the row is stored on this machine and sent later: see [`super::access_outbox`] and
//! [`super::access_replay`].

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, select};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError, Pool};

use super::access_description::RunDescription;
use super::access_end::End;
use super::access_outbox::Outbox;
use super::access_replay;
use super::access_store;
use super::confirmation::Confirmation;
use super::deadlines;
use super::error::SshError;
use super::route_plan::{RoutePlan, Target};
use super::signing::Signing;
use super::unended::{EndedAccess, Key, Row, Stage, Unended};
use crate::centre::context::Context;
use crate::centre::shared_connection::SharedConnection;
use crate::error::{CliError, Stop};
use crate::inventory::lookup::HostLookup;
use crate::login::CentreId;
use crate::ssh_ca::user_certificate::Credential;
use crate::ui::notice;

/// The access log, for one run of `vctl ssh`.
pub(crate) struct AccessLog<'a> {
    context: &'a Context,
    connection: RefCell<SharedConnection>,
    person: OnceCell<String>,
    outbox: Outbox,
    run: RunDescription,
    /// The pool belongs to the caller, which uses it again.
    is_shared_pool: bool,
    unended: RefCell<Unended>,
    /// A row of this attempt was written, or is being written.
    touched: Cell<bool>,
    /// Postgres stored the last row.
    stored: Cell<bool>,
    /// Postgres was unavailable during the host lookup.
    away: Cell<bool>,
}

impl<'a> AccessLog<'a> {
    /// Creates the log with a connection of its own.
    pub(crate) fn new(context: &'a Context, command: Option<String>) -> Result<Self, Stop> {
        let pool = context.pool(DbRole::AuditWriter)?;
        let log = Self::with_pool(context, pool, command, env!("CARGO_PKG_VERSION").to_owned());
        Ok(Self {
            is_shared_pool: false,
            ..log
        })
    }

    /// Like [`new`](Self::new), through a pool of the role `AuditWriter` that the caller uses again.
    pub(crate) fn with_pool(
        context: &'a Context,
        pool: Pool,
        command: Option<String>,
        version: String,
    ) -> Self {
        Self {
            context,
            connection: RefCell::new(SharedConnection::of(pool)),
            person: OnceCell::new(),
            outbox: Outbox::in_dir(context.state(), CentreId::of(context.settings())),
            run: RunDescription { command, version },
            is_shared_pool: true,
            unended: RefCell::default(),
            touched: Cell::new(false),
            stored: Cell::new(false),
            away: Cell::new(false),
        }
    }

    /// Runs `work` and connects to Postgres meanwhile, so that a row can be written at once. An error here is ignored:
    /// it occurs again when the row is written.
    pub(crate) async fn while_connecting<T>(&self, work: impl Future<Output = T>) -> T {
        let beside = async {
            let connection = self.connection();
            let _ = join(self.person(), connection.get()).await;
        };
        match select(pin!(work), pin!(beside)).await {
            Either::Left((done, _)) => done,
            Either::Right(((), work)) => work.await,
        }
    }

    /// Notes the requests for the certificates of an attempt. They are recorded also if the attempt is dropped.
    pub(crate) fn sign(&self, signing: &Signing) {
        self.unended.borrow_mut().sign(signing.clone());
    }

    /// Commits the row of an attempt with signed certificates, in Postgres or on this machine.
    ///
    /// # Errors
    /// The row can be stored in neither place: then no certificate is offered.
    pub(crate) async fn open_signed(
        &self,
        signing: &Signing,
        credentials: &[Credential],
        source: Option<SocketAddr>,
    ) -> Result<Row, CliError> {
        let route = (&signing.jumps[..], &signing.target);
        self.open_as(signing.id, route, credentials, source).await
    }

    /// Like [`open_signed`](Self::open_signed), for another attempt with the same certificates, or for one without any.
    pub(crate) async fn open(
        &self,
        jumps: &[Target],
        target: &Target,
        credentials: &[Credential],
        source: Option<SocketAddr>,
    ) -> Result<Row, CliError> {
        let route = (jumps, target);
        self.open_as(Uuid::now_v7(), route, credentials, source)
            .await
    }

    async fn open_as(
        &self,
        attempt: Uuid,
        (jumps, target): (&[Target], &Target),
        credentials: &[Credential],
        source: Option<SocketAddr>,
    ) -> Result<Row, CliError> {
        self.touched.set(true);
        let serials = credentials.iter().filter_map(|one| one.serial);
        let signed: Vec<_> = credentials.iter().map(Some).collect();
        let access = self.run.describe(attempt, jumps, target, &signed, source);
        self.unended.borrow_mut().write(access.clone(), serials);
        let written = self.write(access.clone(), access_store::refuses_row).await;
        let row = written.as_ref().ok();
        self.unended.borrow_mut().written(&access, row);
        written
    }

    /// Writes a row; after an error that is not `refused`, on this machine.
    async fn write(&self, access: Value, refused: fn(&PgError) -> bool) -> Result<Row, CliError> {
        let person = self.person().await?;
        let limit = if self.away.get() {
            deadlines::ACCESS_ROW_WHILE_AWAY
        } else {
            deadlines::ACCESS_ROW
        };
        let row = match timeout(limit, self.store(person, &access)).await {
            Ok(Ok(id)) => {
                self.stored.set(true);
                Row::Stored(id)
            }
            Ok(Err(error)) if refused(&error) => {
                return Err(CliError::centre(
                    "this access cannot be recorded, so vctl does not connect",
                    &error,
                ));
            }
            Ok(Err(_)) | Err(_) => {
                Row::Queued(self.outbox.store(person, access, Timestamp::now())?)
            }
        };
        Ok(row)
    }

    /// Records the end. The connection is over in any case, so a failure is only a notice.
    pub(crate) async fn close(&self, row: Row, end: &End) {
        let key = self.unended.borrow_mut().end_row(row, end);
        self.finish(key, None).await;
    }

    /// Stores the ends of all accesses that have ended. Each of them waits at most this long for its certificates; then
    /// its row has no serial. May be dropped: the next call continues.
    async fn settle(&self, patience: Option<Duration>) {
        let keys = self.unended.borrow().keys();
        join_all(keys.into_iter().map(|key| self.finish(key, patience))).await;
    }

    async fn finish(&self, key: Key, patience: Option<Duration>) {
        loop {
            let ended = self.unended.borrow().get(key);
            let Some(EndedAccess { stage, end }) = ended else {
                return;
            };
            let next = match stage {
                Stage::Signing(signing) => {
                    let signed = signing.signed_within(patience).await;
                    self.unended
                        .borrow_mut()
                        .signed(&signing, &signed, &self.run)
                }
                Stage::Writing(access) => match self.write(access, access_store::refuses_end).await
                {
                    Ok(row) => Some(Stage::Written(row)),
                    Err(error) => {
                        let reason = error.one_line();
                        notice::note(&format!("an attempt to connect has no record: {reason}"));
                        None
                    }
                },
                Stage::Written(row) => {
                    self.store_end(row, &end).await;
                    None
                }
            };
            self.unended.borrow_mut().advance(key, next);
        }
    }

    async fn store_end(&self, row: Row, end: &End) {
        let end = end.to_json();
        let failed = match row {
            Row::Queued(entry) => self.outbox.end(&entry, end, Timestamp::now()).err(),
            Row::Stored(id) => self.close_stored(id, end).await.err(),
        };
        if let Some(error) = failed {
            notice::note(&format!(
                "the end of this access could not be recorded: {}",
                error.one_line()
            ));
        }
    }

    async fn close_stored(&self, id: i64, end: Value) -> Result<(), CliError> {
        let person = self.person().await?;
        let closing = async {
            let client = self.connection().get().await?;
            access_store::close(&***client, person, id, &end).await
        };
        match timeout(deadlines::ACCESS_ROW, closing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if access_store::refuses_end(&error) => Err(error.into()),
            Ok(Err(_)) | Err(_) => self.outbox.store_end(person, id, end, Timestamp::now()),
        }
    }

    /// Runs `work`. Meanwhile it stores the ends of accesses that have ended.
    pub(crate) async fn while_settling<T>(&self, work: impl Future<Output = T>) -> T {
        match select(pin!(self.settle(None)), pin!(work)).await {
            Either::Left(((), work)) => work.await,
            Either::Right((done, _)) => done,
        }
    }

    /// Runs `work` for the access with `row`. Meanwhile it ends the accesses of routes that lost to a faster one, and
    /// then closes the connection to Postgres: a long session does not need it, and a new one is opened to close the row.
    /// All commands of a user share the few connections of their logins, so an idle session would keep others out.
    pub(crate) async fn during<T>(&self, row: &Row, work: impl Future<Output = T>) -> T {
        let why = "another route to the host was faster".to_owned();
        let lost = End::closed(Some(why));
        self.unended.borrow_mut().end_all(Some(row), &lost);
        let beside = async {
            self.settle(None).await;
            sleep(deadlines::KEEP_CONNECTED).await;
            if !self.is_shared_pool
                && let Ok(next) = self.context.pool(DbRole::AuditWriter)
            {
                let old = self.connection.replace(SharedConnection::of(next));
                old.close().await;
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            done = work => done,
            never = beside => match never {},
        }
    }

    /// Stores the end of each access that has no stored end yet, at the end of the run.
    pub(crate) async fn close_rest(&self, why: &str) {
        let end = End::closed(Some(why.to_owned()));
        self.unended.borrow_mut().end_all(None, &end);
        self.settle(Some(deadlines::UNUSED_CERTIFICATE)).await;
    }

    /// Records a failed attempt that has no row yet. If Vault is still signing its certificates,
    /// [`close_rest`](Self::close_rest) writes the row, with the serials.
    pub(crate) async fn record_failure(&self, plan: &RoutePlan, error: &SshError) {
        let end = End::of(error);
        let has_signing = self.unended.borrow_mut().end_signing(&end);
        if has_signing || self.touched.get() {
            return;
        }
        let row = self.open(plan.first_jumps(), &plan.target, &[], None);
        if let Ok(row) = row.await {
            self.close(row, &end).await;
        }
    }

    /// Records an attempt that the caller stopped before the login. It does not wait for Vault: the user wants to leave.
    pub(crate) async fn record_stop(&self, plan: &RoutePlan, why: &str) {
        let end = End::closed(Some(why.to_owned()));
        let is_recorded = self.unended.borrow_mut().end_all(None, &end);
        if !is_recorded && !self.touched.get() {
            let row = self.open(plan.first_jumps(), &plan.target, &[], None);
            if let Ok(row) = row.await {
                self.close(row, &end).await;
            }
        }
        self.settle(Some(Duration::ZERO)).await;
    }

    /// Waits for Postgres as long as the lookup does. Without this, a row beside a slow lookup would be stored on this
    /// machine, although Postgres answers the lookup later. Returns the connection, for the row to use it.
    pub(crate) async fn when_connected(
        &self,
        confirmation: &Confirmation<'_>,
    ) -> Option<Rc<Client>> {
        let connection = self.connection();
        let connected = async {
            match connection.get().await {
                Ok(client) => client,
                // The lookup has the same error, or uses the cache.
                Err(_) => std::future::pending().await,
            }
        };
        match select(pin!(confirmation.wait()), pin!(connected)).await {
            Either::Left(_) => None,
            Either::Right((client, _)) => Some(client),
        }
    }

    /// Ends the accesses of a connection that the lookup did not confirm. Returns whether there are any. The caller stores
    /// the ends, with [`while_settling`](Self::while_settling) or [`close_rest`](Self::close_rest).
    pub(crate) fn abandon(&self, end: &End) -> bool {
        self.touched.set(false);
        self.unended.borrow_mut().end_all(None, end)
    }

    /// Sends the rows that were stored on this machine, if Postgres just stored a row; otherwise it is probably still
    /// unavailable.
    pub(crate) async fn replay(&self) {
        if !self.stored.get() {
            return;
        }
        let Ok(person) = self.person().await else {
            return;
        };
        let connect = async || self.connection().get_alone().await;
        let replaying = access_replay::replay(&self.outbox, person, connect);
        if let Ok(Err(error)) = timeout(deadlines::ACCESS_ROW, replaying).await
            && access_store::refuses_end(&error)
        {
            notice::note(&format!(
                "accesses stored on this machine could not be sent to Postgres: {}",
                CliError::from(error).one_line()
            ));
        }
    }

    async fn store(&self, person: &str, access: &Value) -> Result<i64, PgError> {
        let client = self.connection().get().await?;
        access_store::open(&***client, person, access).await
    }

    /// Returns the host lookup, with the connection that also writes the row: creating a login takes most of the time of
    /// a short `vctl ssh`, and statements of both share a round trip.
    pub(crate) fn host_lookup(&self) -> HostLookup<'a> {
        HostLookup::with_connection(self.context, DbRole::AuditWriter, self.connection())
    }

    /// Notes whether Postgres was unavailable during the lookup, so that vctl does not wait for it again.
    pub(crate) fn note_lookup(&self, directory: &HostLookup<'_>) {
        self.away.set(directory.was_away());
    }

    fn connection(&self) -> SharedConnection {
        self.connection.borrow().clone()
    }

    async fn person(&self) -> Result<&str, CliError> {
        let ask = || async { self.context.display_name().await };
        self.person.get_or_try_init(ask).await.map(String::as_str)
    }
}
