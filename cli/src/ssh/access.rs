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

use futures_util::future::{Either, join, select};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError, Pool};

use super::access_end::End;
use super::access_outbox::{Outbox, OutboxEntry};
use super::access_replay;
use super::access_store;
use super::confirmation::Confirmation;
use super::deadlines;
use super::error::SshError;
use super::route_plan::{RoutePlan, Target};
use crate::centre::context::Context;
use crate::centre::shared_connection::SharedConnection;
use crate::error::{CliError, Stop};
use crate::inventory::cache::InventoryOrigin;
use crate::inventory::lookup::HostLookup;
use crate::ssh_ca::user_certificate::Credential;
use crate::ui::notice;

/// Time after which the connection to Postgres is closed; most commands end earlier.
const KEEP_CONNECTED: Duration = Duration::from_mins(1);

/// A row that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Stored(i64),
    Queued(OutboxEntry),
}

/// The access log, for one run of `vctl ssh`.
pub(crate) struct AccessLog<'a> {
    context: &'a Context,
    connection: RefCell<SharedConnection>,
    person: OnceCell<String>,
    outbox: Outbox,
    /// Name of the remote program, or the command without its secrets. The host records the full command.
    command: Option<String>,
    /// Version of vctl, and the program that it works for.
    version: String,
    /// The pool belongs to the caller, which uses it again.
    is_shared_pool: bool,
    open: RefCell<Vec<Row>>,
    /// Accesses whose rows are being written.
    unfinished: RefCell<Vec<Value>>,
    touched: Cell<bool>,
    /// Postgres stored the last row.
    stored: Cell<bool>,
    /// Postgres was unavailable during the host lookup.
    away: Cell<bool>,
}

impl<'a> AccessLog<'a> {
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
            outbox: Outbox::in_dir(context.state(), InventoryOrigin::of(context.settings())),
            command,
            version,
            is_shared_pool: true,
            open: RefCell::default(),
            unfinished: RefCell::default(),
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

    /// Commits a row, in Postgres or on this machine.
    ///
    /// # Errors
    /// The row can be stored in neither place: then no certificate is offered.
    pub(crate) async fn open(
        &self,
        jumps: &[Target],
        target: &Target,
        credentials: &[Credential],
        source: Option<SocketAddr>,
    ) -> Result<Row, CliError> {
        self.touched.set(true);
        let access = self.describe(jumps, target, credentials, source);
        self.unfinished.borrow_mut().push(access.clone());
        let written = self.write(access.clone()).await;
        let mut unfinished = self.unfinished.borrow_mut();
        unfinished.retain(|other| *other != access);
        written
    }

    async fn write(&self, access: Value) -> Result<Row, CliError> {
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
            Ok(Err(error)) if !error.is_away() => {
                return Err(CliError::centre(
                    "this access cannot be recorded, so vctl does not connect",
                    &error,
                ));
            }
            Ok(Err(_)) | Err(_) => {
                Row::Queued(self.outbox.store(person, access, Timestamp::now())?)
            }
        };
        self.open.borrow_mut().push(row.clone());
        Ok(row)
    }

    /// Records the end. The connection is over in any case, so a failure is only a notice.
    pub(crate) async fn close(&self, row: Row, end: &End) {
        self.open.borrow_mut().retain(|other| *other != row);
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
            Ok(Err(error)) if !error.is_away() => Err(error.into()),
            Ok(Err(_)) | Err(_) => self.outbox.store_end(person, id, end, Timestamp::now()),
        }
    }

    /// Runs `work` for the access with `row`. Meanwhile it closes the rows of routes that lost to a faster one, and
    /// after a while the connection to Postgres: a long session does not need it, and a new one is opened to close the
    /// row.
    pub(crate) async fn during<T>(&self, row: &Row, work: impl Future<Output = T>) -> T {
        let beside = async {
            let kept = |other: &Row| other == row;
            let left = self.open.take();
            let (kept, left): (Vec<Row>, Vec<Row>) = left.into_iter().partition(kept);
            self.open.replace(kept);
            for row in left {
                let why = "another route to the host was faster".to_owned();
                self.close(row, &End::closed(Some(why))).await;
            }
            sleep(KEEP_CONNECTED).await;
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

    /// Closes every open row, when a signal ends vctl.
    pub(crate) async fn close_rest(&self, why: &str) {
        let rest = self.open.take();
        for row in rest {
            self.close(row, &End::closed(Some(why.to_owned()))).await;
        }
    }

    /// Records a failed attempt that has no row yet.
    pub(crate) async fn record_failure(&self, plan: &RoutePlan, error: &SshError) {
        if self.touched.get() {
            return;
        }
        let row = self.open(plan.first_jumps(), &plan.target, &[], None);
        if let Ok(row) = row.await {
            self.close(row, &End::of(error)).await;
        }
    }

    /// Records an attempt that the caller stopped before the login. It may have no row yet, or one that was being
    /// written.
    pub(crate) async fn record_stop(&self, plan: &RoutePlan, why: &str) {
        if !self.touched.get() {
            let _ = self.open(plan.first_jumps(), &plan.target, &[], None).await;
        }
        // Postgres may have stored these rows: it stores an attempt once.
        for access in self.unfinished.take() {
            let _ = self.write(access).await;
        }
        self.close_rest(why).await;
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

    /// Closes the rows of a connection that the lookup did not confirm. Returns whether it has any.
    pub(crate) async fn abandon(&self, end: &End) -> bool {
        // Postgres may have stored these rows: it stores an attempt once.
        for access in self.unfinished.take() {
            let _ = self.write(access).await;
        }
        self.touched.set(false);
        let rows = self.open.take();
        let has_rows = !rows.is_empty();
        for row in rows {
            self.close(row, end).await;
        }
        has_rows
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
            && !error.is_away()
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

    fn describe(
        &self,
        jumps: &[Target],
        target: &Target,
        credentials: &[Credential],
        source: Option<SocketAddr>,
    ) -> Value {
        let own = credentials.get(jumps.len());
        let hops: Vec<Value> = jumps
            .iter()
            .enumerate()
            .map(|(index, jump)| {
                let credential = credentials.get(index);
                json!({
                    "hostname": jump.name,
                    "ca_fingerprint": credential.map(|credential| &credential.ca_fingerprint),
                    "cert_serial": credential.and_then(|credential| credential.serial),
                })
            })
            .collect();
        json!({
            // It is not always known here whether a row was stored, so it may be sent twice.
            "attempt_id": Uuid::now_v7(),
            "hostname": target.name,
            "login_user": target.user,
            "target_addr": target.addr.ip(),
            "target_port": target.addr.port(),
            "jump_via": jumps.iter().map(|jump| &jump.name).collect::<Vec<_>>(),
            "ca_fingerprint": own.map(|own| &own.ca_fingerprint),
            "cert_serial": own.and_then(|own| own.serial),
            "key_id": own.map(|own| own.certificate.key_id()),
            "command": self.command.as_deref().map(|command| access_store::cut(command, access_store::COMMAND_LENGTH)),
            "source_ip": source.map(|source| source.ip()),
            "source_port": source.map(|source| source.port()),
            "client_host": client_host(),
            "client_user": std::env::var("USER").ok(),
            "vctl_version": self.version,
            "hops": hops,
        })
    }
}

fn client_host() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
