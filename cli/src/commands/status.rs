//! `vctl status`: Vault, login, SSH CA and hosts on one page.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::timeout;
use vctl_common::centre::{DbRole, DbSettings};
use vctl_common::count::counted;
use vctl_common::person::Person;
use vctl_common::pg::{PgError, Pool, PoolLimits};

use crate::centre::context;
use crate::config::globals::Globals;
use crate::config::{self, Loaded};
use crate::doctor::{seal, ssh, token};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::fleet;
use crate::fleet::model::FleetHost;
use crate::status;
use crate::status::model::{AgentCounts, LineState, StatusLine};
use crate::status::text::Facts;
use crate::ui::Screen;
use crate::ui::ask::Interaction;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;

/// Maximum time to return the database credentials.
const FAREWELL: Duration = Duration::from_secs(3);

/// Show the state of Vault, your login, the SSH CA and the hosts
///
/// Asks Vault instead of trusting the cached token, and never starts a login. See also `vctl doctor` (why
/// something does not work), `vctl fleet` (which agents are silent) and `vctl whoami` (your groups).
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl status                          Show the state of everything
  vctl status --check || vctl login    Log in only if needed, in a script
  vctl status -o json | jq .policies   For programs: docs/status-json.md")]
pub(crate) struct StatusArgs {
    /// Print nothing if all is well, else one line with the reason
    #[arg(long, conflicts_with = "output")]
    check: bool,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(crate) fn run(args: &StatusArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let mut status = StatusReport::new(&loaded);
    context::run_without_store(async {
        status.ask(&loaded, globals.interaction()).await;
        Ok(())
    })?;
    if !args.check {
        status.show(args.output)?;
    }
    status.verdict(args.check)
}

/// The results, line by line.
struct StatusReport {
    lines: Vec<StatusLine>,
    facts: Facts,
}

impl StatusReport {
    fn new(loaded: &Loaded) -> Self {
        Self {
            lines: Vec::new(),
            facts: Facts {
                vault_addr: loaded.config.vault_addr.clone(),
                ..Facts::default()
            },
        }
    }

    fn show(&self, format: OutputFormat) -> Result<(), Stop> {
        let mut screen = if format.is_for_people() {
            Screen::for_people()
        } else {
            Screen::for_programs()
        };
        let layout = screen.layout(format == OutputFormat::Wide);
        if format.is_for_people() {
            status::text::write(&mut screen, &self.lines, layout)?;
        } else {
            status::text::write_for_programs(&mut screen, format, &self.lines, &self.facts)?;
        }
        Ok(screen.flush()?)
    }

    /// Runs the checks side by side, and reports them in order up to the one without which the others cannot work.
    async fn ask(&mut self, loaded: &Loaded, interaction: Interaction) {
        let settings = config::settings(loaded);
        let (addr, db) = (&settings.vault.addr, &settings.db);
        let session = async {
            let token = token::open(loaded, interaction).await?;
            let (session, hosts) = tokio::join!(token.look_up(), hosts(&token, db));
            Ok::<_, Stop>((session?, hosts))
        };
        let (seal, session, authority) = tokio::join!(
            seal::ask(&settings.vault),
            Box::pin(session),
            ssh::authority(&settings.vault)
        );
        match seal {
            Ok(heard) if heard.health.sealed || !heard.health.initialized => {
                let is = format!("{addr}, sealed");
                let fix = "ask an administrator of Vault to unseal it";
                return self.fails("Vault", Exit::Unavailable, is, Some(fix.to_owned()));
            }
            Ok(heard) => {
                let version = heard.health.version;
                self.well("Vault", format!("{addr}, unsealed, version {version}"));
                self.facts.vault_version = Some(version);
            }
            Err(error) => return self.failed("Vault", error),
        }
        let (session, hosts) = match session {
            Ok(found) => found,
            Err(stop) => return self.failed("Token", stop),
        };
        self.identity(loaded, &session);
        match authority {
            Ok(Ok(fingerprint)) => {
                self.well("SSH CA", fingerprint.clone());
                self.facts.ssh_ca_fingerprint = Some(fingerprint);
            }
            Ok(Err(why)) => {
                let fix =
                    "check `VCTL_SSH_MOUNT`; an administrator of Vault creates a CA with `vault write MOUNT/config/ca generate_signing_key=true`".to_owned();
                self.fails("SSH CA", Exit::Config, why, Some(fix));
            }
            Err(error) => self.failed("SSH CA", error),
        }
        match hosts {
            Ok(hosts) => self.inventory(db, &hosts),
            Err(error) => self.failed("Inventory", error),
        }
    }

    fn identity(&mut self, loaded: &Loaded, session: &token::Session) {
        let config = &loaded.config;
        let token::Session { info, method, .. } = session;
        let name = Person::new(info.display_name.as_str()).name().to_owned();
        let by = method.as_deref().unwrap_or("`VAULT_TOKEN`");
        let is = format!("{name}, by {by}");
        let given = method.is_none();
        let configured = config.auth_method;
        let state = match token::identity_warning(info, given, &config.approle_mount, configured) {
            None => LineState::Well(is),
            Some((wrong, fix)) => LineState::Odd {
                is: format!("{is}: {wrong}"),
                fix: fix.to_owned(),
            },
        };
        self.lines.push(StatusLine {
            subject: "Identity",
            state,
        });
        let renewable = if info.renewable { ", renewable" } else { "" };
        self.well("Token", format!("{}{renewable}", token::left(info.ttl)));
        self.well("Policies", info.policies.join(", "));
        self.facts.policies = Some(info.policies.clone());
        self.facts.identity = Some(name);
        self.facts.method.clone_from(method);
        self.facts.machine = Some(token::is_machine_token(info, &config.approle_mount));
        self.facts.token_ttl_s = info.ttl.map(|ttl| ttl.as_secs());
    }

    fn inventory(&mut self, db: &DbSettings, hosts: &[FleetHost]) {
        let count = counted(hosts.len(), "host");
        self.well(
            "Inventory",
            format!("{count}, in `{}` at {}:{}", db.name, db.host, db.port),
        );
        let agents = AgentCounts::of(hosts);
        let AgentCounts {
            reporting,
            silent,
            none,
        } = agents;
        let is = format!("{reporting} reporting, {silent} silent, {none} without one");
        let state = if silent == 0 {
            LineState::Well(is)
        } else {
            let fix = "`vctl fleet --unhealthy` lists the silent agents".to_owned();
            LineState::Odd { is, fix }
        };
        self.lines.push(StatusLine {
            subject: "Agents",
            state,
        });
        self.facts.count(hosts.len(), agents);
    }

    fn well(&mut self, subject: &'static str, is: String) {
        let state = LineState::Well(is);
        self.lines.push(StatusLine { subject, state });
    }

    fn fails(&mut self, subject: &'static str, exit: Exit, is: String, fix: Option<String>) {
        let fix = fix.map(|fix| config::placed(&fix));
        let state = LineState::Fails { exit, is, fix };
        self.lines.push(StatusLine { subject, state });
    }

    fn failed(&mut self, subject: &'static str, stop: impl Into<Stop>) {
        if let Stop::Error(error) = stop.into() {
            self.fails(subject, error.exit, error.one_line(), error.hint);
        }
    }

    /// Returns the first failure as an error; with `says_why`, including the reason.
    fn verdict(&self, says_why: bool) -> Result<(), Stop> {
        let failed = self.lines.iter().find_map(|line| match &line.state {
            LineState::Fails { exit, is, .. } => Some((line.subject, *exit, is)),
            _ => None,
        });
        match failed {
            None => Ok(()),
            Some((subject, exit, is)) => {
                let message = if says_why {
                    format!("{subject}: {is}")
                } else {
                    format!("`{subject}` fails")
                };
                Err(CliError::new(exit, message).into())
            }
        }
    }
}

async fn hosts(token: &token::OpenToken, db: &DbSettings) -> Result<Vec<FleetHost>, PgError> {
    let (vault, logins) = (token.vault.clone(), token.logins.clone());
    let pool = Pool::with_logins(vault, db, DbRole::Ro, PoolLimits::default(), logins)?;
    let found = pool
        .with(async |client| Ok(fleet::store::hosts(client).await?))
        .await;
    // An error here does not change the result.
    let _: Result<(), _> = timeout(FAREWELL, pool.close()).await;
    found
}
