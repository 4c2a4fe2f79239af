//! What a command needs to reach the centre: settings, one runtime, Vault, connections.

use std::cell::RefCell;
use std::env;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use vctl_common::centre::{DbRole, Settings};
use vctl_common::pg::{Pool, PoolLimits};
use vctl_common::secret::Secret;
use vctl_common::vault::{Auth, Vault};

use crate::config::{self, Loaded};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::globals::Globals;

/// How long the end of a command waits for Vault to hear that its credentials are no longer used.
/// They end by themselves; nobody should sit and wait for that.
const FAREWELL: Duration = Duration::from_secs(3);

/// The centre, for one command.
pub(crate) struct Context {
    #[allow(dead_code, reason = "read by the commands to come")]
    loaded: Loaded,
    settings: Settings,
    vault: Vault,
    pools: RefCell<Vec<Pool>>,
}

/// Does `work` with the centre that the configuration names. Whatever comes of it, also Ctrl-C, the
/// database credentials it took are given back.
pub(crate) fn run<T>(
    globals: &Globals,
    work: impl AsyncFnOnce(&Context) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let context = Context::of(globals.load()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Failure, "cannot start").caused_by(&error))?;
    let done = runtime.block_on(async {
        let done = tokio::select! {
            done = work(&context) => done,
            stop = asked_to_stop() => Err(stop),
        };
        // A failure to say goodbye takes nothing away from what was done.
        let _ = timeout(FAREWELL, context.close()).await;
        done
    });
    // A name server that does not answer is looked up on a thread that cannot be stopped.
    runtime.shutdown_background();
    done
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

    fn of(loaded: Loaded) -> Result<Self, Stop> {
        let settings = config::settings(&loaded);
        let token = token_of_environment(&loaded)?;
        let vault = Vault::connect(&settings.vault, Auth::Token(token))?;
        Ok(Self {
            loaded,
            settings,
            vault,
            pools: RefCell::default(),
        })
    }
}

fn token_of_environment(loaded: &Loaded) -> Result<Secret<String>, CliError> {
    let token = env::var("VAULT_TOKEN")
        .ok()
        .filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| {
        CliError::new(Exit::Permission, "nobody is logged in: `VAULT_TOKEN` is not set").hint(
            "log in to Vault: `export VAULT_TOKEN=$(vault login -token-only -method=userpass username=NAME)`",
        )
    })?;
    let chosen = ["vault_addr", "vault_namespace"];
    match chosen.iter().find(|key| loaded.is_from_directory(key)) {
        None => Ok(Secret::new(token)),
        Some(key) => {
            let message = format!(
                "`VAULT_TOKEN` is not sent to {}, which this directory chose",
                loaded.config.vault_addr
            );
            let hint = format!(
                "`{key}` is from {}; if you mean it, set it with `export VCTL_VAULT_ADDR=..` (or VCTL_VAULT_NAMESPACE) or in ~/.config/vctl/config.yaml",
                loaded.source_of(key)
            );
            Err(CliError::new(Exit::Permission, message).hint(hint))
        }
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
