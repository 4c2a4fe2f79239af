//! Subscribers of tracing: `-v` prints on stderr, `--debug-timing` measures.

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::ui::notice;
use crate::ui::timing;

/// Installs the subscribers that the options ask for.
pub(crate) fn start(verbose: u8, measure: bool) {
    if verbose == 0 && !measure {
        return;
    }
    tracing_subscriber::registry()
        .with(measure.then(timing::begin))
        .with((verbose > 0).then(|| lines(verbose)))
        .init();
}

/// Without `-v` nothing is logged: important messages are notes or errors of the command.
fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(verbose: u8) -> impl Layer<S> {
    let (ours, others) = match verbose {
        ..=1 => (LevelFilter::DEBUG, LevelFilter::OFF),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let targets = Targets::new()
        .with_default(others)
        .with_targets([("vctl", ours), ("vctl_common", ours)]);
    tracing_subscriber::fmt::layer()
        .with_writer(|| notice::Log)
        // No colours: `notice` would escape their control characters.
        .with_ansi(false)
        .without_time()
        .with_target(verbose > 1)
        .with_filter(targets)
}
