//! What a command needs to reach the centre: settings, one runtime, Vault, connections.

use std::cell::RefCell;
use std::env::{self, VarError};
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use vctl_common::centre::{DbRole, DbSettings, Settings, VaultSettings};
use vctl_common::pg::{Pool, PoolLimits};
use vctl_common::secret::Secret;
use vctl_common::vault::{Auth, Vault};

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::timing;

/// How long the end of a command waits for Vault to hear that its credentials are no longer used.
/// They end by themselves; nobody should sit and wait for that.
const FAREWELL: Duration = Duration::from_secs(3);

/// The centre, for one command.
pub(crate) struct Context {
    settings: Settings,
    vault: Vault,
    pools: RefCell<Vec<Pool>>,
}

/// Does `work` with the centre that the environment names. Whatever comes of it, also Ctrl-C, the
/// database credentials it took are given back.
pub(crate) fn run<T>(work: impl AsyncFnOnce(&Context) -> Result<T, Stop>) -> Result<T, Stop> {
    let context = Context::from_env(&|name| env::var(name))?;
    block_on(async {
        let done = until_asked_to_stop(work(&context)).await;
        // A failure to say goodbye takes nothing away from what was done.
        let _ = timeout(FAREWELL, context.close()).await;
        done
    })
}

/// Does `work`, which needs no database, until it is done or somebody asks us to stop.
pub(crate) fn run_without_store<T>(
    work: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    block_on(until_asked_to_stop(work))
}

/// Does `work` to its end, whatever signals come.
pub(crate) fn run_to_the_end<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    block_on(work)
}

fn block_on<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    timing::watch(&mut runtime);
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Failure, "cannot start").caused_by(&error))?;
    let done = runtime.block_on(work);
    // What waits on a thread (a name server, a person who types) cannot be stopped.
    runtime.shutdown_background();
    done
}

async fn until_asked_to_stop<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    tokio::select! {
        done = work => done,
        stop = asked_to_stop() => Err(stop),
    }
}

impl Context {
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns connections for one purpose; nothing is connected yet.
    pub(crate) fn pool(&self, role: DbRole) -> Result<Pool, Stop> {
        self.pool_within(role, PoolLimits::default())
    }

    /// As `pool`, also where the schema is missing or does not fit this vctl.
    pub(crate) fn pool_for_any_schema(&self, role: DbRole) -> Result<Pool, Stop> {
        let limits = PoolLimits {
            any_schema: true,
            ..PoolLimits::default()
        };
        self.pool_within(role, limits)
    }

    fn pool_within(&self, role: DbRole, limits: PoolLimits) -> Result<Pool, Stop> {
        let pool = Pool::new(self.vault.clone(), &self.settings.db, role, limits)?;
        self.pools.borrow_mut().push(pool.clone());
        Ok(pool)
    }

    async fn close(&self) {
        let pools = self.pools.take();
        for pool in pools {
            pool.close().await;
        }
    }

    fn from_env(read: &dyn Fn(&str) -> Result<String, VarError>) -> Result<Self, Stop> {
        let environment = Environment { read };
        let settings = environment.settings()?;
        let token = Secret::new(environment.required("VAULT_TOKEN")?);
        let vault = Vault::connect(&settings.vault, Auth::Token(token))?;
        Ok(Self {
            settings,
            vault,
            pools: RefCell::default(),
        })
    }
}

async fn asked_to_stop() -> Stop {
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Stop::Interrupted
}

/// What every command of the centre has to be told.
const REQUIRED: [(&str, &str); 3] = [
    (
        "VCTL_VAULT_ADDR",
        "set it to the address of Vault: `export VCTL_VAULT_ADDR=https://HOST:8200`",
    ),
    (
        "VAULT_TOKEN",
        "log in to Vault: `export VAULT_TOKEN=$(vault login -token-only -method=userpass username=NAME)`",
    ),
    (
        "VCTL_DB_HOST",
        "set it to the name of the Postgres server: `export VCTL_DB_HOST=HOST`",
    ),
];

struct Environment<'a> {
    read: &'a dyn Fn(&str) -> Result<String, VarError>,
}

impl Environment<'_> {
    fn settings(&self) -> Result<Settings, Stop> {
        self.refuse_when_incomplete()?;
        let mut vault = VaultSettings::new(self.vault_addr()?.unwrap_or_default());
        vault.namespace = self.optional("VCTL_VAULT_NAMESPACE")?;
        vault.ca_cert = self.optional("VCTL_VAULT_CA_CERT")?.map(PathBuf::from);
        if let Some(mount) = self.optional("VCTL_DATABASE_MOUNT")? {
            vault.database_mount = mount;
        }
        if let Some(mount) = self.optional("VCTL_SSH_MOUNT")? {
            vault.ssh_mount = mount;
        }
        let mut db = DbSettings::new(self.required("VCTL_DB_HOST")?);
        if let Some(port) = self.optional("VCTL_DB_PORT")? {
            db.port = port.parse().ok().filter(|&port| port != 0).ok_or_else(|| {
                let message = format!("`VCTL_DB_PORT` is `{port}`, which is no port");
                CliError::new(Exit::Config, message).hint("a port is a number from 1 to 65535")
            })?;
        }
        if let Some(name) = self.optional("VCTL_DB_NAME")? {
            db.name = name;
        }
        db.server_name = self.optional("VCTL_DB_SERVERNAME")?;
        db.ca_cert = self.optional("VCTL_DB_CA_CERT")?.map(PathBuf::from);
        Ok(Settings { vault, db })
    }

    /// All that is missing in one error, not one after the other.
    fn refuse_when_incomplete(&self) -> Result<(), Stop> {
        let mut missing = Vec::new();
        for (name, hint) in REQUIRED {
            let value = match name {
                "VCTL_VAULT_ADDR" => self.vault_addr()?,
                name => self.optional(name)?,
            };
            if value.is_none() {
                missing.push((name, hint));
            }
        }
        let names: Vec<String> = missing
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let Some(((_, hint), names)) = missing.first().zip(list(&names)) else {
            return Ok(());
        };
        let message = format!("the central store cannot be reached: {names} not set");
        Err(CliError::new(Exit::Config, message).hint(*hint).into())
    }

    fn vault_addr(&self) -> Result<Option<String>, Stop> {
        match self.optional("VCTL_VAULT_ADDR")? {
            Some(addr) => Ok(Some(addr)),
            None => self.optional("VAULT_ADDR"),
        }
    }

    fn required(&self, name: &str) -> Result<String, Stop> {
        self.optional(name)?
            .ok_or_else(|| CliError::new(Exit::Config, format!("`{name}` is not set")).into())
    }

    /// Returns a variable; an empty one counts as not set.
    fn optional(&self, name: &str) -> Result<Option<String>, Stop> {
        match (self.read)(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                Err(CliError::new(Exit::Config, format!("`{name}` is not UTF-8")).into())
            }
        }
    }
}

/// `a is`, `a and b are`, `a, b and c are`.
fn list(names: &[String]) -> Option<String> {
    match names {
        [] => None,
        [one] => Some(format!("{one} is")),
        [first @ .., last] => Some(format!("{} and {last} are", first.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, CliError> {
        let read = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found
                .map(|(_, value)| (*value).to_owned())
                .ok_or(VarError::NotPresent)
        };
        Environment { read: &read }
            .settings()
            .map_err(|stop| match stop {
                Stop::Error(error) => error,
                other => panic!("{other:?}"),
            })
    }

    const COMPLETE: [(&str, &str); 3] = [
        ("VAULT_ADDR", "https://vault.example:8200"),
        ("VAULT_TOKEN", "t"),
        ("VCTL_DB_HOST", "db.example"),
    ];

    #[test]
    fn every_missing_variable_is_named_at_once() {
        let error = settings(&[]).unwrap_err();
        assert_eq!(error.exit, Exit::Config);
        assert_eq!(
            error.message,
            "the central store cannot be reached: `VCTL_VAULT_ADDR`, `VAULT_TOKEN` and `VCTL_DB_HOST` are not set"
        );
        for (index, (name, _)) in COMPLETE.iter().enumerate() {
            let mut rest = COMPLETE.to_vec();
            rest[index].1 = "";
            let error = settings(&rest).unwrap_err();
            let name = if *name == "VAULT_ADDR" {
                "VCTL_VAULT_ADDR"
            } else {
                name
            };
            assert!(
                error.message.ends_with(&format!("`{name}` is not set")),
                "{}",
                error.message
            );
            assert!(error.hint.unwrap().contains(name));
        }
    }

    #[test]
    fn our_own_variable_wins_over_the_one_that_vault_has() {
        let mut variables = COMPLETE.to_vec();
        assert_eq!(
            settings(&variables).unwrap().vault.addr,
            "https://vault.example:8200"
        );
        variables.push(("VCTL_VAULT_ADDR", "https://other.example"));
        assert_eq!(
            settings(&variables).unwrap().vault.addr,
            "https://other.example"
        );
    }

    #[test]
    fn a_port_that_is_none_is_an_error_with_its_name() {
        for port in ["0", "65536", "-1", "pg", "54 32"] {
            let variables = [&COMPLETE[..], &[("VCTL_DB_PORT", port)]].concat();
            let error = settings(&variables).unwrap_err();
            assert!(error.message.contains("VCTL_DB_PORT") && error.message.contains(port));
        }
    }
}
