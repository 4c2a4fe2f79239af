//! Configuration from one table of keys: accepted values, their sources, and how they are printed.
//!
//! Flags override the environment, which overrides the files, which override the defaults. A
//! program has one [`Table`] over its own struct. Parsing, flags, the printed configuration and the
//! documentation all come from that table.
//!
//! The crates figment, config and confique were considered. They do not report the file and line of
//! each value and each mistake, and do not return all mistakes at once.

mod file;
mod key;
mod load;
mod place;
mod print;
mod suggest;
mod text;
mod value;

pub use key::{Key, Refusal, Shown, Table, list, put, secret, text, text_or_none};
pub use load::{ConfigError, ConfigFile, Inputs, Loaded, Need, Origin, Problem, Source};
pub use text::{FileText, read};
pub use value::{ByteSize, Raw, Span};
