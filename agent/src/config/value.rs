//! Types of the agent's values, with their parsing and printing.

use vctl_common::value_names;

/// Treatment of a login that was not stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The login is allowed, and a late-login file marks it for a late stamp.
    BestEffort,
    /// The login is refused.
    Strict,
}

/// The processes that are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    Sessions,
    /// Also processes outside every session.
    All,
}

/// The log of the host that gets a copy of sessions and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalLogKind {
    None,
    Journald,
    Syslog,
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
value_names!(LocalLogKind { "none" => None, "journald" => Journald, "syslog" => Syslog });
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
