//! `--debug-timing`: the time that a command spent in each phase of [`vctl_common::spans`]. The sum is the
//! wall time: overlapping phases are counted once, and unmeasured time has its own line.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;
use vctl_common::spans;

static RECORDING: OnceLock<Recording> = OnceLock::new();

/// A phase of a command. If two phases overlap, the time counts for the first one in this list: for
/// example, vctl gets a database login while it connects to Postgres, and waits for the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Auth,
    Credential,
    Connect,
    Query,
    Render,
}

const PHASES: [(Phase, &str); 5] = [
    (Phase::Auth, "auth"),
    (Phase::Credential, "credential"),
    (Phase::Connect, "connect"),
    (Phase::Query, "query"),
    (Phase::Render, "render"),
];

#[derive(Clone, Copy, Debug)]
enum PhaseEvent {
    Begin(Phase),
    End(Phase),
    /// No phase is running: the command waits.
    Park,
    Unpark,
}

#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Vec<(Instant, PhaseEvent)>>>);

impl Recording {
    fn note(&self, event: PhaseEvent) {
        let now = Instant::now();
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push((now, event));
    }
}

/// Starts the measurement; the returned layer gets its events from [`tracing`].
pub(crate) fn begin<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    RECORDING.get_or_init(Recording::default).clone()
}

/// Makes a runtime report when it waits. A page in progress does not count as being written during a
/// wait.
pub(crate) fn watch(runtime: &mut tokio::runtime::Builder) {
    if let Some(recording) = RECORDING.get() {
        runtime
            .on_thread_park(|| recording.note(PhaseEvent::Park))
            .on_thread_unpark(|| recording.note(PhaseEvent::Unpark));
    }
}

/// Writes the report of the time since `start`; writes nothing if it was not measured.
pub(crate) fn report(out: &mut dyn Write, start: Instant) -> io::Result<()> {
    let Some(Recording(events)) = RECORDING.get() else {
        return Ok(());
    };
    let end = Instant::now();
    let events = events.lock().unwrap_or_else(PoisonError::into_inner);
    Account::of(start, &events, end).write(out)
}

/// The time of one command. Each moment counts for one phase.
#[derive(Debug, Default, PartialEq)]
struct Account {
    phases: [Duration; PHASES.len()],
    rest: Duration,
}

impl Account {
    fn of(start: Instant, events: &[(Instant, PhaseEvent)], end: Instant) -> Self {
        let mut account = Self::default();
        let mut open = [0_u32; PHASES.len()];
        let mut parked = false;
        let mut since = start;
        for &(at, event) in events {
            *account.entry(open, parked) += at.saturating_duration_since(since);
            since = at.max(since);
            match event {
                PhaseEvent::Begin(phase) => open[phase as usize] += 1,
                PhaseEvent::End(phase) => {
                    open[phase as usize] = open[phase as usize].saturating_sub(1);
                }
                PhaseEvent::Park => parked = true,
                PhaseEvent::Unpark => parked = false,
            }
        }
        *account.entry(open, parked) += end.saturating_duration_since(since);
        account
    }

    /// Returns the phase that the time counts for while these phases run.
    fn entry(&mut self, open: [u32; PHASES.len()], parked: bool) -> &mut Duration {
        let is_open = |phase: Phase| open[phase as usize] > 0;
        let is_writing = !parked && is_open(Phase::Render);
        let waited_for = [Phase::Auth, Phase::Credential, Phase::Connect, Phase::Query];
        let phase = match waited_for.into_iter().find(|phase| is_open(*phase)) {
            // Writing comes first: the connection stays in use while its rows are written.
            None | Some(Phase::Query) if is_writing => Some(Phase::Render),
            other => other,
        };
        match phase {
            Some(phase) => &mut self.phases[phase as usize],
            None => &mut self.rest,
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        // Rounded so that the lines add up to the total.
        let tenths = |time: Duration| (time.as_micros() + 50) / 100;
        let mut total = 0;
        let mut line = |name: &str, tenths: u128, note: &str| {
            let (whole, tenth) = (tenths / 10, tenths % 10);
            writeln!(out, "timing: {name:<10} {whole:>7}.{tenth} ms{note}")
        };
        for ((_, name), time) in PHASES.iter().zip(self.phases) {
            total += tenths(time);
            line(name, tenths(time), "")?;
        }
        let rest = tenths(self.rest);
        line(
            "rest",
            rest,
            "  (starting, settings, other programs and servers)",
        )?;
        line("total", total + rest, "")
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recording {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == spans::TARGET
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if let Some(phase) = of(attributes.metadata()) {
            self.note(PhaseEvent::Begin(phase));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(phase) = context.metadata(&id).and_then(of) {
            self.note(PhaseEvent::End(phase));
        }
    }
}

fn of(metadata: &Metadata<'_>) -> Option<Phase> {
    let known = PHASES.iter().find(|(_, name)| *name == metadata.name());
    known.map(|(phase, _)| *phase)
}

#[cfg(test)]
mod tests {
    use Phase::{Auth, Connect, Credential, Query, Render};
    use PhaseEvent::{Begin, End, Park, Unpark};

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn account(events: &[(u64, PhaseEvent)], end: u64) -> Account {
        let start = Instant::now();
        let events: Vec<_> = events
            .iter()
            .map(|(at, event)| (start + ms(*at), *event))
            .collect();
        let account = Account::of(start, &events, start + ms(end));
        let sum: Duration = account.phases.iter().sum();
        assert_eq!(sum + account.rest, ms(end));
        account
    }

    #[test]
    fn each_moment_counts_for_one_phase() {
        let events = [
            (5, Begin(Auth)),
            (15, End(Auth)),
            (15, Begin(Connect)),
            (16, Begin(Credential)),
            (26, End(Credential)),
            (28, End(Connect)),
        ];
        let account = account(&events, 30);
        assert_eq!(account.phases, [ms(10), ms(10), ms(3), ms(0), ms(0)]);
        assert_eq!(account.rest, ms(7));
    }

    #[test]
    fn waiting_does_not_count_as_writing() {
        let events = [
            (0, Begin(Query)),
            (10, Begin(Render)),
            (12, Park),
            (30, Unpark),
            (33, End(Query)),
            (34, End(Render)),
        ];
        let account = account(&events, 40);
        assert_eq!(account.phases, [ms(0), ms(0), ms(0), ms(28), ms(6)]);
        assert_eq!(account.rest, ms(6));
    }

    #[test]
    fn the_lines_add_up_to_the_total() {
        let account = Account {
            phases: [Duration::from_micros(149); PHASES.len()],
            rest: Duration::from_micros(51),
        };
        let mut out = Vec::new();
        account.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let number =
            |line: &str| -> f64 { line.split_whitespace().nth(2).unwrap().parse().unwrap() };
        let numbers: Vec<f64> = text.lines().map(number).collect();
        let (total, parts) = numbers.split_last().unwrap();
        assert!((parts.iter().sum::<f64>() - total).abs() < 1e-9, "{text}");
    }
}
