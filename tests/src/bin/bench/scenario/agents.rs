//! A fleet comes back in one moment, each host with a minute's backlog, to a Postgres that lets few in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use vctl_agent::store::{Centre as Where, Shipper};
use vctl_tests::centre::{Centre, DATABASE, Options, PostgresOptions};
use vctl_tests::load::stats::{Summary, count_as_f64, u64_as_f64};
use vctl_tests::ship::Source;

use crate::report::Findings;
use crate::rig::Bench;

/// Backends that the fleet may have in all.
const BACKENDS: u32 = 64;
/// Events of a minute: ten programs a second, each with its exec and its exit.
const A_MINUTE: u64 = 60 * 20;
/// No refused agent may come again sooner.
const FLOOR_MS: f64 = 500.0;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let agents = bench.full_or_short(1000, 80);
    raise_the_limit_of_files()?;
    let refusals = Refusals::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(refusals.clone()))
        .context("somebody else listens to the log")?;
    let centre = Centre::start(&Options {
        postgres: PostgresOptions {
            fsync: true,
            max_connections: BACKENDS,
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
    let most = watch.stop();
    let sessions: Vec<_> = fleet
        .iter()
        .map(|member| (&member.name, &member.source.sessions))
        .collect();
    let mut missing = 0;
    for (name, sessions) in sessions {
        if let Err(error) = centre.ensure_has(name, sessions, Duration::from_secs(5)) {
            eprintln!("{error:#}");
            missing += 1;
        }
    }
    let gaps = refusals.gaps();
    findings.state("agents", u64_as_f64(u64::from(agents)), "");
    findings.state("events of each", u64_as_f64(A_MINUTE), "");
    findings.at_most("all caught up after", last.as_secs_f64(), "s", 180.0);
    findings.exactly("hosts whose rows are not the truth", missing, "", 0);
    findings.at_most(
        "backends at most",
        u64_as_f64(most),
        "",
        f64::from(BACKENDS),
    );
    findings.state(
        "failures that were told",
        count_as_f64(refusals.count()),
        "",
    );
    if gaps.count > 0 {
        findings.at_least(
            "shortest time between two failures of an agent",
            gaps.min,
            "ms",
            FLOOR_MS,
        );
    }
    findings.keep(
        "caught_up_s",
        &Summary::of(caught_up.into_iter().flatten().collect()),
    )?;
    findings.keep("between_failures_ms", &gaps)?;
    findings.keep("causes", &refusals.causes())?;
    drop(fleet);
    Ok(findings)
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

/// Counts backends until it is stopped, ten times a second, over a connection of its own.
struct Watch {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Watch {
    fn start(centre: &Centre) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(centre.postgres.connect(DATABASE))?;
        let (stop, most) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, highest) = (Arc::clone(&stop), Arc::clone(&most));
        let thread = thread::spawn(move || {
            let count =
                "select count(*) from pg_stat_activity where backend_type = 'client backend'";
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(row) = runtime.block_on(client.query_one(count, &[])) {
                    let backends = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
                    highest.fetch_max(backends, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(100));
            }
        });
        Ok(Self { stop, most, thread })
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.most.load(Ordering::Relaxed)
    }
}

/// Every failure that a shipper tells in its log; a shipper is a thread.
#[derive(Clone, Default)]
struct Refusals(Arc<Mutex<BTreeMap<String, Vec<(Instant, String)>>>>);

impl Refusals {
    fn count(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    /// Milliseconds between one failure and the next of the same agent.
    fn gaps(&self) -> Summary {
        let told = self.lock();
        let gaps = told.values().flat_map(|times| {
            let pairs = times.windows(2);
            pairs.map(|pair| (pair[1].0 - pair[0].0).as_secs_f64() * 1e3)
        });
        Summary::of(gaps.collect())
    }

    fn causes(&self) -> BTreeMap<String, u64> {
        let mut causes = BTreeMap::new();
        for (_, text) in self.lock().values().flatten() {
            *causes.entry(text.clone()).or_default() += 1;
        }
        causes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<(Instant, String)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: tracing::Subscriber> Layer<S> for Refusals {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = ErrorText(None);
        event.record(&mut text);
        if let (true, Some(error)) = (event.metadata().target().contains("store::ship"), text.0) {
            let id: ThreadId = thread::current().id();
            // A number stands in most of them: the port, the host.
            let cause: String = error.chars().filter(|c| !c.is_ascii_digit()).collect();
            let mut told = self.lock();
            told.entry(format!("{id:?}"))
                .or_default()
                .push((Instant::now(), cause));
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

fn raise_the_limit_of_files() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}
