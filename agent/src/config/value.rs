//! The types values have, and how each is read from text and written back.

use vctl_common::value_names;

/// What happens to a login that nobody stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The login continues, and a file asks for a late stamp.
    BestEffort,
    /// It is refused.
    Strict,
}

/// Whose processes are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    Sessions,
    /// Also processes outside every session.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

value_names!(Mode { "best-effort" => BestEffort, "strict" => Strict });
value_names!(Capture { "sessions" => Sessions, "all" => All });
value_names!(LogLevel {
    "off" => Off,
    "error" => Error,
    "warn" => Warn,
    "info" => Info,
    "debug" => Debug,
    "trace" => Trace,
});

impl From<LogLevel> for tracing::level_filters::LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}
