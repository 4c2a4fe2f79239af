//! Many commands of many users: the database logins that they leave, and the size of Postgres' catalogs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use vctl_tests::centre::{Centre, Options};
use vctl_tests::lab::{Programs, eventually};
use vctl_tests::load::stats::{count_as_f64, u64_as_f64};

use super::at_once::at_once;
use crate::report::Findings;
use crate::rig::Bench;

/// Users that work at the same time. Each waits for its last command.
const AT_ONCE: usize = 10;

/// Catalogs that get rows with each new login. The first two have a limit.
const CATALOGS: [&str; 4] = [
    "pg_authid",
    "pg_shdepend",
    "pg_auth_members",
    "pg_db_role_setting",
];

/// A table without rows has no page, and may get one.
const PAGE_BYTES: f64 = 8192.0;

const LEFT: &str = "select count(*) from pg_roles where rolname like 'ro/%crowd-%'";

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    let (count, each) = bench.full_or_short((50, 200), (10, 50));
    let users = (0..count).map(|number| User::new(bench, &centre, &format!("crowd-{number}")));
    let users: Vec<User<'_>> = users.collect::<Result<_>>()?;
    let killed = User::new(bench, &centre, "crowd-killed")?;

    // A new store has a page of roles, and the login of each user alone fills more. So the sizes with these tell what the
    // later commands add.
    let empty = sizes(&centre)?;
    at_once(AT_ONCE, count, |number| users[number].list())?;
    let before = sizes(&centre)?;
    let begun = Instant::now();
    at_once(AT_ONCE, count, |number| {
        (1..each).try_for_each(|_| users[number].list())
    })?;
    let commands = count_as_f64(count * (each - 1));
    findings.state("users", count_as_f64(count), "");
    findings.state(
        "vctl list of these users, after one of each",
        commands,
        "commands",
    );
    let rate = commands / begun.elapsed().as_secs_f64();
    findings.state("vctl list of these users", rate, "commands/s");
    let after = sizes(&centre)?;
    for (place, catalog) in CATALOGS.iter().enumerate() {
        let name = format!("size of {catalog} after them / of a new store");
        let grown = after[place] / empty[place].max(PAGE_BYTES);
        if place < 2 {
            findings.at_most(&name, grown, "", 2.0);
        } else {
            findings.state(&name, grown, "");
        }
        let name = format!("size of {catalog} after them / after the first of each user");
        findings.state(&name, after[place] / before[place].max(PAGE_BYTES), "");
    }
    findings.keep("catalogs", &CATALOGS)?;
    findings.keep("bytes_empty_before_after", &[&empty, &before, &after])?;
    let limit = count_as_f64(count);
    findings.at_most("leases of these users", leases(&centre)?, "", limit);

    // A command with a cached login, ended in the middle.
    for (number, user) in users.iter().enumerate() {
        user.kill_in_the_middle(|| {
            thread::sleep(Duration::from_millis(2 * number as u64 + 2));
            Ok(true)
        })?;
    }
    let what = "leases after a killed command of each";
    findings.at_most(what, leases(&centre)?, "", limit);
    // A first command, ended as soon as Vault has made its login. The next command uses that login or creates one.
    let held = leases(&centre)?;
    killed.kill_in_the_middle(|| Ok(leases(&centre)? > held))?;
    let left = leases(&centre)? - held;
    findings.at_most("leases of a killed first command", left, "", 1.0);
    killed.list()?;

    for user in users.iter().chain([&killed]) {
        user.succeeds(&["logout"])?;
    }
    let gone = || Ok(leases(&centre)? < 1.0 && centre.ask(LEFT)? == "0");
    let are_gone = eventually(Duration::from_mins(1), gone)?;
    let last = leases(&centre)?;
    findings.at_most("leases a minute after the logouts", last, "", 0.0);
    let roles: f64 = centre.ask(LEFT)?.parse()?;
    findings.at_most("roles a minute after the logouts", roles, "", 0.0);
    ensure!(are_gone || last + roles > 0.0, "the logouts took too long");
    Ok(findings)
}

/// A user with a home of its own, logged in to Vault.
struct User<'a> {
    centre: &'a Centre,
    vctl: PathBuf,
    home: PathBuf,
}

impl<'a> User<'a> {
    fn new(bench: &Bench, centre: &'a Centre, name: &str) -> Result<Self> {
        let user = Self {
            centre,
            vctl: Programs::find()?.vctl,
            home: bench.directory("home-")?,
        };
        let client = centre.person(name, &["vctl-user"])?;
        let given = user.home.join("given");
        fs::write(&given, client.token().expose())?;
        user.runs(&["login", "--token-stdin"], fs::File::open(given)?.into())?;
        Ok(user)
    }

    fn list(&self) -> Result<()> {
        self.succeeds(&["list"])
    }

    fn succeeds(&self, args: &[&str]) -> Result<()> {
        self.runs(args, Stdio::null())
    }

    fn runs(&self, args: &[&str], input: Stdio) -> Result<()> {
        let output = self.command(args).stdin(input).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_good = output.status.success() && !said.contains("cached");
        ensure!(is_good, "`vctl {}`: {said}", args.join(" "));
        Ok(())
    }

    /// Starts a command, and kills it at a moment. It may have ended before.
    fn kill_in_the_middle(&self, moment: impl Fn() -> Result<bool>) -> Result<()> {
        let mut command = self.command(&["list"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::null()).spawn()?;
        let come = until(moment);
        child.kill()?;
        child.wait()?;
        come
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.vctl);
        command
            .args(args)
            .env_clear()
            .env("HOME", Path::new(&self.home))
            .envs(self.centre.environment());
        command
    }
}

/// Asks without a pause, because the moment is short.
fn until(moment: impl Fn() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    while !moment()? {
        ensure!(Instant::now() < end, "the command got no database login");
    }
    Ok(())
}

/// Returns the number of leases of Vault for the role of `vctl list`.
fn leases(centre: &Centre) -> Result<f64> {
    let path = "sys/leases/lookup/database/creds/vctl-ro?list=true";
    let reply = centre.bao.admin()?.call("GET", path, None)?;
    // Vault answers an empty list so.
    if reply.status == 404 {
        return Ok(0.0);
    }
    let keys = reply.body["data"]["keys"].as_array();
    let keys = keys.with_context(|| format!("Vault lists no leases: {}", reply.body))?;
    Ok(count_as_f64(keys.len()))
}

/// Returns the sizes of the catalogs, in bytes.
fn sizes(centre: &Centre) -> Result<Vec<f64>> {
    let size = |catalog: &&str| {
        let sql = format!("select pg_relation_size('{catalog}')");
        Ok(u64_as_f64(centre.ask(&sql)?.parse()?))
    };
    CATALOGS.iter().map(size).collect()
}
