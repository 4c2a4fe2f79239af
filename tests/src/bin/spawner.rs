//! `spawner`: executes a load and prints its outcome as JSON.
#![allow(clippy::print_stdout, reason = "its stdout is the outcome")]

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use vctl_tests::load::child;
use vctl_tests::load::spawn::{self, Load, Stop};

/// Spawn children at a rate, wait for each, and write a ledger
#[derive(Debug, Parser)]
struct Options {
    /// Program to execute; if the file does not exist, the libc-free child is written there
    #[arg(long)]
    child: PathBuf,
    /// Number of children
    #[arg(long, conflicts_with = "seconds")]
    count: Option<u64>,
    /// Seconds to spawn
    #[arg(long, required_unless_present = "count")]
    seconds: Option<f64>,
    /// Spawns per second over all workers; as fast as possible without it
    #[arg(long)]
    rate: Option<f64>,
    /// Threads that spawn
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// Bytes of argv, with the NUL of each item
    #[arg(long, default_value_t = 64)]
    argv_bytes: usize,
    /// Name of the run, part of every nonce
    #[arg(long, default_value = "run")]
    run: String,
    /// File for the ledger; no ledger is written without it
    #[arg(long)]
    ledger: Option<PathBuf>,
    /// PAM session hook that runs first and makes this process a login
    #[arg(long, value_name = "AGENT")]
    stamp: Option<PathBuf>,
    /// File to create after the hook; the load begins when the file is removed
    #[arg(long, value_name = "FILE")]
    hold: Option<PathBuf>,
    /// Configuration of the hook
    #[arg(long, requires = "stamp")]
    stamp_config: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if !options.child.exists() {
        child::write_to(&options.child)
            .with_context(|| format!("cannot write the child `{}`", options.child.display()))?;
    }
    if let Some(agent) = &options.stamp {
        let mut hook = Command::new(agent);
        hook.arg("stamp");
        if let Some(config) = &options.stamp_config {
            hook.arg("--config").arg(config);
        }
        let status = hook.status();
        let status = status.with_context(|| format!("cannot run `{}`", agent.display()))?;
        ensure!(status.success(), "the stamp failed: {status}");
    }
    if let Some(hold) = &options.hold {
        File::create(hold).with_context(|| format!("cannot create `{}`", hold.display()))?;
        while hold.exists() {
            // The interval is long enough to cause no load and short enough to cause no visible delay.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let stop = match (options.count, options.seconds) {
        (Some(count), _) => Stop::AfterCount(count),
        (None, seconds) => Stop::AfterTime(Duration::from_secs_f64(seconds.unwrap_or_default())),
    };
    let load = Load {
        child: options.child,
        run: options.run,
        stop,
        rate: options.rate,
        workers: options.workers,
        argv_bytes: options.argv_bytes,
    };
    let ledger: Box<dyn Write + Send> = match &options.ledger {
        Some(path) => Box::new(
            File::create(path)
                .with_context(|| format!("cannot create the ledger `{}`", path.display()))?,
        ),
        None => Box::new(io::sink()),
    };
    let outcome = spawn::run(&load, ledger)?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
