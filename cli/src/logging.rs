//! What `-v` adds on stderr: what the connections to the centre have to say.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Logs what is worth it at this many `-v`. Without one nothing is: what a person has to know is a
/// note or an error of the command.
pub(crate) fn start(verbose: u8) {
    let (ours, others) = match verbose {
        0 => return,
        1 => (LevelFilter::DEBUG, LevelFilter::OFF),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    let targets = Targets::new()
        .with_default(others)
        .with_targets([("vctl", ours), ("vctl_common", ours)]);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .with_target(verbose > 1);
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .init();
}
