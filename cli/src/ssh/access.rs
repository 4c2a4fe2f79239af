//! The access log: that somebody asked to be let in, written before a host sees the certificate.
//!
//! Where Postgres is away the row is kept on this machine and handed in later: see [`super::access_outbox`].

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join, select};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use vctl_common::centre::DbRole;
use vctl_common::pg::{PgError, Pool};

use super::access_outbox::{Kept, Spool};
use super::connect::{Plan, Target};
use super::deadlines;
use super::error::SshError;
use crate::centre::context::Context;
use crate::error::{CliError, Stop};
use crate::inventory::lookup::HostLookup;
use crate::ssh;
use crate::ssh_ca::user_certificate::Credential;
use crate::ui::notice;

/// Most commands are over before this.
const KEEP_CONNECTED: Duration = Duration::from_mins(1);

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    result: &'static str,
    exit_code: Option<u8>,
    error: Option<String>,
}

impl End {
    /// The remote command ended with this.
    pub(crate) fn exited(code: u8) -> Self {
        Self {
            result: "ok",
            exit_code: Some(code),
            error: None,
        }
    }

    /// It was open, and nobody knows how what ran there ended.
    pub(crate) fn closed(why: Option<String>) -> Self {
        Self {
            result: "closed",
            exit_code: None,
            error: why,
        }
    }

    pub(crate) fn of(error: &SshError) -> Self {
        let result = if error.is_refusal() {
            "refused"
        } else {
            "failed"
        };
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self {
            result,
            exit_code: None,
            error: Some(text),
        }
    }

    fn to_json(&self) -> Value {
        json!({"result": self.result, "exit_code": self.exit_code, "error": self.error})
    }
}

/// A row that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Stored(i64),
    Kept(Kept),
}

/// The log, for one run of `vctl ssh`.
pub(crate) struct AccessLog<'a> {
    context: &'a Context,
    pool: RefCell<Pool>,
    person: OnceCell<String>,
    spool: Spool,
    /// Of what runs there only the program: arguments hold secrets, and what was really run the host
    /// records.
    command: Option<String>,
    open: RefCell<Vec<Row>>,
    touched: Cell<bool>,
    /// Postgres was there a moment ago.
    stored: Cell<bool>,
    /// Postgres was not there when the host was looked up.
    away: Cell<bool>,
}

impl<'a> AccessLog<'a> {
    pub(crate) fn new(context: &'a Context, command: Option<String>) -> Result<Self, Stop> {
        Ok(Self {
            context,
            pool: RefCell::new(context.pool(DbRole::AuditWriter)?),
            person: OnceCell::new(),
            spool: Spool::in_dir(context.state()),
            command,
            open: RefCell::default(),
            touched: Cell::new(false),
            stored: Cell::new(false),
            away: Cell::new(false),
        })
    }

    /// Does `work`, and meanwhile connects: a row that is to be written meets an open connection. What
    /// fails here fails again where it matters, and what takes too long is not waited for.
    pub(crate) async fn connecting_beside<T>(&self, work: impl Future<Output = T>) -> T {
        let beside = async {
            let pool = self.pool();
            let _ = join(self.person(), pool.get()).await;
        };
        match select(pin!(work), pin!(beside)).await {
            Either::Left((done, _)) => done,
            Either::Right(((), work)) => work.await,
        }
    }

    /// Commits a row, here or on this machine.
    ///
    /// # Errors
    /// It may not be written, or can be kept nowhere: then nobody is let in.
    pub(crate) async fn open(
        &self,
        jumps: &[Target],
        target: &Target,
        credentials: &[Credential],
        source: Option<SocketAddr>,
    ) -> Result<Row, CliError> {
        self.touched.set(true);
        let access = self.describe(jumps, target, credentials, source);
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
                    "this access cannot be recorded, so it is not made",
                    &error,
                ));
            }
            Ok(Err(_)) | Err(_) => Row::Kept(self.spool.keep(person, access, Timestamp::now())?),
        };
        self.open.borrow_mut().push(row.clone());
        Ok(row)
    }

    /// Says how it ended. It was, whether or not that can be written down: a failure is only told.
    pub(crate) async fn close(&self, row: Row, end: &End) {
        self.open.borrow_mut().retain(|other| *other != row);
        let end = end.to_json();
        let failed = match row {
            Row::Kept(kept) => self.spool.end(&kept, end, Timestamp::now()).err(),
            Row::Stored(id) => self.close_stored(id, end).await.err(),
        };
        if let Some(error) = failed {
            notice::note(&format!(
                "how this access ended could not be recorded: {}",
                error.message
            ));
        }
    }

    async fn close_stored(&self, id: i64, end: Value) -> Result<(), CliError> {
        let person = self.person().await?;
        let closing = async {
            let client = self.pool().get().await?;
            ssh::access_store::close(&**client, person, id, &end).await
        };
        match timeout(deadlines::ACCESS_ROW, closing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if !error.is_away() => Err(error.into()),
            Ok(Err(_)) | Err(_) => self.spool.keep_end(person, id, end, Timestamp::now()),
        }
    }

    /// Does what the access with `row` is for. Meanwhile the rows of ways that were left for a quicker
    /// one are closed, and after a while the connection to Postgres is: a day's session is no reason to
    /// keep one, and another is there when the row is to be closed.
    pub(crate) async fn during<T>(&self, row: &Row, work: impl Future<Output = T>) -> T {
        let beside = async {
            let kept = |other: &Row| other == row;
            let left = self.open.take();
            let (kept, left): (Vec<Row>, Vec<Row>) = left.into_iter().partition(kept);
            self.open.replace(kept);
            for row in left {
                let why = "another way to the host was quicker".to_owned();
                self.close(row, &End::closed(Some(why))).await;
            }
            sleep(KEEP_CONNECTED).await;
            if let Ok(next) = self.context.pool(DbRole::AuditWriter) {
                let old = self.pool.replace(next);
                old.close().await;
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            done = work => done,
            never = beside => match never {},
        }
    }

    /// Closes every row that is still open, when somebody ends us.
    pub(crate) async fn close_rest(&self, why: &str) {
        let rest = self.open.take();
        for row in rest {
            self.close(row, &End::closed(Some(why.to_owned()))).await;
        }
    }

    /// Records an attempt of which there is no row yet.
    pub(crate) async fn never_came_about(&self, plan: &Plan, error: &SshError) {
        if self.touched.get() {
            return;
        }
        let jumps = if plan.direct { &[][..] } else { &plan.jumps };
        if let Ok(row) = self.open(jumps, &plan.target, &[], None).await {
            self.close(row, &End::of(error)).await;
        }
    }

    /// Hands in what was kept on this machine while Postgres was away, once it took a row of ours:
    /// nobody waits for one that is still away.
    pub(crate) async fn replay(&self) {
        if !self.stored.get() || self.spool.is_empty() {
            return;
        }
        let Ok(person) = self.person().await else {
            return;
        };
        let replaying = async {
            let mut client = self.pool().get().await?;
            self.spool.replay(person, &mut client).await
        };
        if let Ok(Err(error)) = timeout(deadlines::ACCESS_ROW, replaying).await
            && !error.is_away()
        {
            notice::note(&format!(
                "accesses that are kept here could not be handed in: {error}"
            ));
        }
    }

    async fn store(&self, person: &str, access: &Value) -> Result<i64, PgError> {
        let client = self.pool().get().await?;
        ssh::access_store::open(&**client, person, access).await
    }

    /// Where hosts are looked up: with the login that writes the row. Making one is most of what a short
    /// `vctl ssh` takes.
    pub(crate) fn directory(&self) -> HostLookup<'a> {
        HostLookup::with_pool(self.context, DbRole::AuditWriter, self.pool())
    }

    /// Notes what looking the host up had to do without: nobody waits for the same Postgres twice.
    pub(crate) fn looked_up_in(&self, directory: &HostLookup<'_>) {
        self.away.set(directory.used_cache());
    }

    fn pool(&self) -> Pool {
        self.pool.borrow().clone()
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
            // Whether a row came to be is not always known here: it may be handed in again.
            "attempt_id": Uuid::now_v7(),
            "hostname": target.name,
            "login_user": target.user,
            "target_addr": target.addr.ip(),
            "target_port": target.addr.port(),
            "jump_via": jumps.iter().map(|jump| &jump.name).collect::<Vec<_>>(),
            "ca_fingerprint": own.map(|own| &own.ca_fingerprint),
            "cert_serial": own.and_then(|own| own.serial),
            "key_id": own.map(|own| own.certificate.key_id()),
            "command": self.command,
            "source_ip": source.map(|source| source.ip()),
            "source_port": source.map(|source| source.port()),
            "client_host": client_host(),
            "client_user": std::env::var("USER").ok(),
            "vctl_version": env!("CARGO_PKG_VERSION"),
            "hops": hops,
        })
    }
}

fn client_host() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
