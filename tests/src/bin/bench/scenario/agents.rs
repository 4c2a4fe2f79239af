//! All agents of a fleet reconnect at once, each with a backlog of one minute. Postgres accepts few connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use vctl_agent::centre::Centre as Where;
use vctl_agent::store::Shipper;
use vctl_common::spans::TARGET as PHASE;
use vctl_tests::centre::{Centre, DATABASE, Options, PostgresOptions};
use vctl_tests::load::stats::{Summary, count_as_f64, u64_as_f64};
use vctl_tests::ship::Source;

use crate::report::Findings;
use crate::rig::Bench;

/// Limit of connections for the whole fleet.
pub(super) const BACKENDS: u32 = 64;
/// So few connections that Postgres refuses most agents. The superuser and Vault also need some of them.
const FEW: u32 = 20;
/// Events of a minute: ten programs a second, each with an exec event and an exit event.
pub(super) const A_MINUTE: u64 = 60 * 20;
/// A refused agent must wait at least this long before it tries again.
const FLOOR_MS: f64 = 500.0;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    raise_the_limit_of_files()?;
    let log = Log::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log.clone()))
        .context("another part of the process listens to the log")?;

    let agents = bench.full_or_short(1000, 60);
    let fleet = come_back(bench, agents, BACKENDS)?;
    findings.state("agents", f64::from(agents), "");
    findings.state("events of each", u64_as_f64(A_MINUTE), "");
    findings.at_most("all caught up after", fleet.last.as_secs_f64(), "s", 180.0);
    findings.exactly("hosts whose rows are not the truth", fleet.wrong, "", 0);
    findings.at_most(
        "backends at most",
        u64_as_f64(fleet.most),
        "",
        f64::from(BACKENDS),
    );
    findings.at_least("looks at the backends", u64_as_f64(fleet.looks), "", 10.0);
    findings.keep("caught_up_s", &fleet.caught_up)?;
    findings.keep("failures", &log.causes())?;

    // Here Postgres has so few connections that it refuses most agents at first.
    log.clear();
    let crowd = bench.full_or_short(100, 30);
    let crowded = come_back(bench, crowd, FEW)?;
    let waits = log.waits_after_refusals();
    findings.state("agents for a few places", f64::from(crowd), "");
    findings.state(
        "all of them caught up after",
        crowded.last.as_secs_f64(),
        "s",
    );
    findings.exactly(
        "of them hosts whose rows are not the truth",
        crowded.wrong,
        "",
        0,
    );
    findings.at_least("connections refused", count_as_f64(waits.count), "", 1.0);
    findings.at_least(
        "from a refusal to that agent's next try, at least",
        waits.min,
        "ms",
        FLOOR_MS,
    );
    findings.keep("from_refusal_to_next_try_ms", &waits)?;
    findings.keep("failures_of_the_crowd", &log.causes())?;
    Ok(findings)
}

/// Results of the reconnection of a fleet.
pub(super) struct Back {
    pub(super) last: Duration,
    wrong: u64,
    most: u64,
    looks: u64,
    caught_up: Summary,
}

/// Starts that many agents at once, each with a separate login, lease, connection and backlog.
pub(super) fn come_back(bench: &Bench, agents: u32, backends: u32) -> Result<Back> {
    let centre = Centre::start(&Options {
        postgres: PostgresOptions {
            fsync: true,
            max_connections: backends,
            settings: vec![
                ("shared_buffers", "1GB".to_owned()),
                ("full_page_writes", "on".to_owned()),
            ],
        },
        ..Options::default()
    })?;
    let mut fleet = Vec::new();
    for number in 0..agents {
        fleet.push(Member::new(bench, &centre, number)?);
        if (number + 1) % 200 == 0 {
            eprintln!("  {} of {agents} hosts are enrolled", number + 1);
        }
    }
    centre.ask("checkpoint")?;
    let watch = Watch::start(&centre)?;
    let begun = Instant::now();
    for member in &mut fleet {
        member.shipper = Some(member.source.ship(&member.way)?);
    }
    let mut caught_up = vec![None; fleet.len()];
    while caught_up.iter().any(Option::is_none) {
        ensure!(
            begun.elapsed() < Duration::from_mins(15),
            "only {} of {agents} agents have caught up",
            caught_up.iter().flatten().count()
        );
        for (done, member) in caught_up.iter_mut().zip(&fleet) {
            let shipped = |s: &Shipper| s.progress().status().events_shipped;
            if done.is_none() && member.shipper.as_ref().map(shipped) == Some(A_MINUTE) {
                *done = Some(begun.elapsed().as_secs_f64());
            }
        }
        sleep(Duration::from_millis(50));
    }
    let last = begun.elapsed();
    let (most, looks) = watch.stop()?;
    let mut wrong = 0;
    for member in &fleet {
        let truth = &member.source.sessions;
        if let Err(error) = centre.ensure_has(&member.name, truth, Duration::from_secs(5)) {
            eprintln!("{error:#}");
            wrong += 1;
        }
    }
    Ok(Back {
        last,
        wrong,
        most,
        looks,
        caught_up: Summary::of(caught_up.into_iter().flatten().collect()),
    })
}

/// One host: an AppRole, a spool, and later a shipper.
struct Member {
    name: String,
    source: Source,
    way: Where,
    shipper: Option<Shipper>,
}

impl Member {
    fn new(bench: &Bench, centre: &Centre, number: u32) -> Result<Self> {
        let name = format!("fleet-{number}");
        let host = centre.enroll(&name)?;
        let dir = bench.directory("agent-")?;
        let mut source = Source::open(&dir.join("spool"), 4 << 20, 64 << 20)?;
        let id = source.log_in(u64::from(number) + 1)?;
        source.work(id, A_MINUTE)?;
        let way = centre.way(&host, &dir)?;
        Ok(Self {
            name,
            source,
            way,
            shipper: None,
        })
    }
}

/// Counts connections ten times a second until it is stopped, over a separate connection.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<(u64, u64)>>,
}

impl Watch {
    fn start(centre: &Centre) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(centre.postgres.connect(DATABASE))?;
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // Counts all clients, also Vault and this connection.
            let count =
                "select count(*) from pg_stat_activity where backend_type = 'client backend'";
            let (mut most, mut looks) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                let row = runtime.block_on(client.query_one(count, &[]))?;
                most = most.max(u64::try_from(row.get::<_, i64>(0))?);
                looks += 1;
                sleep(Duration::from_millis(100));
            }
            Ok((most, looks))
        });
        Ok(Self { stop, thread })
    }

    /// Returns the highest number of connections, and the number of counts.
    fn stop(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the watch panicked"))?
    }
}

/// Actions of each shipper at the centre, taken from its log. Each shipper is a thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<ByThread>>);

type ByThread = BTreeMap<String, Vec<(Instant, Told)>>;

#[derive(Clone, Debug)]
enum Told {
    /// A shipper began to connect to Postgres.
    Tries,
    Failed(String),
}

impl Log {
    fn clear(&self) {
        self.lock().clear();
    }

    /// Milliseconds from each refused connection to the next action of the same agent.
    fn waits_after_refusals(&self) -> Summary {
        let mut waits = Vec::new();
        for told in self.lock().values() {
            for (at, (when, what)) in told.iter().enumerate() {
                let Told::Failed(why) = what else { continue };
                let next = told[at + 1..]
                    .iter()
                    .find(|(_, what)| matches!(what, Told::Tries));
                if let (true, Some((next, _))) = (why.contains("no free connection"), next) {
                    waits.push((*next - *when).as_secs_f64() * 1e3);
                }
            }
        }
        Summary::of(waits)
    }

    fn causes(&self) -> BTreeMap<String, u64> {
        let mut causes = BTreeMap::new();
        for (_, told) in self.lock().values().flatten() {
            if let Told::Failed(why) = told {
                *causes.entry(why.clone()).or_default() += 1;
            }
        }
        causes
    }

    fn tell(&self, told: Told) {
        let thread: ThreadId = thread::current().id();
        let mut log = self.lock();
        log.entry(format!("{thread:?}"))
            .or_default()
            .push((Instant::now(), told));
    }

    fn lock(&self) -> MutexGuard<'_, ByThread> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        // Releases are left out: only actions that need a connection count.
        if span.metadata().target() == PHASE && span.metadata().name() == "connect" {
            self.tell(Told::Tries);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = ErrorText(None);
        event.record(&mut text);
        if let (true, Some(error)) = (event.metadata().target().contains("store::retry"), text.0) {
            // Ports and hosts are removed, because they do not make a different cause.
            self.tell(Told::Failed(
                error.chars().filter(|c| !c.is_ascii_digit()).collect(),
            ));
        }
    }
}

/// The field `error` of an event.
struct ErrorText(Option<String>);

impl Visit for ErrorText {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "error" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

pub(super) fn raise_the_limit_of_files() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}
