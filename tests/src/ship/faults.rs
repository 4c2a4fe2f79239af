//! Faults on the way to the centre that happen again and again while events are shipped. Each function waits until the
//! centre has every event exactly once, and returns the number of events.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vctl_common::id::SessionId;
use vctl_common::spool::{Filter, SpoolReader};

use super::random::Random;
use super::{Proxy, Source};
use crate::centre::{Centre, HostIdentity};

/// A backoff may have grown to a minute at the end of the fault.
const RECOVERY: Duration = Duration::from_mins(3);

/// Kills Postgres in the middle of its work, and starts it again.
pub fn restarts(centre: &Centre, host: &HostIdentity, dir: &Path, times: u32) -> Result<u64> {
    let mut source = Source::open(&dir.join("spool"), 1 << 20, 1 << 30)?;
    let _shipper = source.ship(&centre.way(host, dir)?)?;
    let id = source.log_in(1)?;
    for _ in 0..times {
        work_for(&mut source, id, Duration::from_millis(700))?;
        centre.postgres.kill()?;
        work_for(&mut source, id, Duration::from_millis(100))?;
        centre.postgres.start()?;
    }
    settle(centre, host, &mut source, id)
}

/// Cuts at least this many connections in the middle of a batch, and one after its COMMIT before the answer.
pub fn cuts(
    centre: &Centre,
    host: &HostIdentity,
    dir: &Path,
    times: u64,
    seed: u64,
) -> Result<(u64, u64)> {
    let proxy = Proxy::start(centre.postgres.port, seed)?;
    let mut source = Source::open(&dir.join("spool"), 1 << 20, 1 << 30)?;
    let id = source.log_in(1)?;
    let _shipper = source.ship(&centre.way_through(host, dir, proxy.port)?)?;
    let begun = Instant::now();
    while proxy.cuts() < times || proxy.answers_lost() == 0 {
        ensure!(
            begun.elapsed() < Duration::from_mins(2) * u32::try_from(times)?,
            "only {} of {times} connections could be cut, and {} answers were lost",
            proxy.cuts(),
            proxy.answers_lost()
        );
        source.work(id, 100)?;
        sleep(Duration::from_millis(20));
    }
    proxy.stop_cutting();
    Ok((settle(centre, host, &mut source, id)?, proxy.answers_lost()))
}

/// Seals the secrets server. An agent that starts meanwhile gets no credential.
pub fn sealed(centre: &Centre, host: &HostIdentity, dir: &Path, lasting: Duration) -> Result<u64> {
    let mut source = Source::open(&dir.join("spool"), 1 << 20, 1 << 30)?;
    let id = source.log_in(1)?;
    let way = centre.way(host, dir)?;
    let shipper = source.ship(&way)?;
    work_for(&mut source, id, Duration::from_millis(500))?;
    centre.bao.seal()?;
    drop(shipper);
    let shipper = source.ship(&way)?;
    let end = Instant::now() + lasting;
    while Instant::now() < end {
        source.work(id, 20)?;
        sleep(Duration::from_millis(100));
    }
    let problem = shipper.progress().status().problem;
    centre.bao.unseal()?;
    ensure!(
        problem.as_ref().is_some_and(|why| why.contains("sealed")),
        "the status reports for a sealed Vault: {problem:?}"
    );
    settle(centre, host, &mut source, id)
}

/// Kills the agent's process at random points. `seed` decides them.
pub fn kills(
    centre: &Centre,
    host: &HostIdentity,
    dir: &Path,
    program: &Path,
    times: u32,
    seed: u64,
) -> Result<u64> {
    let mut random = Random::new(seed);
    // This call writes the credentials of the host, which the child reads.
    let _ = centre.way(host, dir)?;
    let mut child = Command::new(program);
    child
        .arg(dir)
        .arg(&host.name)
        .args([centre.bao.address(), centre.postgres.port.to_string()])
        .arg(centre.pki.ca())
        .stdin(Stdio::null());
    for _ in 0..times {
        let mut running = child.spawn().context("cannot start the shipping load")?;
        sleep(Duration::from_millis(20 + random.below(400)));
        running.kill()?;
        running.wait()?;
    }
    let truth = in_spool(&dir.join("spool"))?;
    let source = Source::open(&dir.join("spool"), 1 << 20, 1 << 30)?;
    let _shipper = source.ship(&centre.way(host, dir)?)?;
    centre.ensure_has(&host.name, &truth, RECOVERY)?;
    Ok(truth.values().sum())
}

/// Returns the contents of a spool by session: the truth when another process wrote the spool.
fn in_spool(dir: &Path) -> Result<BTreeMap<SessionId, u64>> {
    let sessions = SpoolReader::open(dir)?.sessions(&Filter::All)?;
    Ok(sessions
        .into_iter()
        .map(|session| (session.opened.id, session.stored))
        .collect())
}

fn work_for(source: &mut Source, id: SessionId, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        source.work(id, 100)?;
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn settle(centre: &Centre, host: &HostIdentity, source: &mut Source, id: SessionId) -> Result<u64> {
    source.work(id, 100)?;
    source.log_out(id)?;
    centre.ensure_has(&host.name, &source.sessions, RECOVERY)?;
    Ok(source.sessions.values().sum())
}
