//! Configuration from one table of keys: accepted values, their sources, and how they are printed.
//!
//! Flags override the environment, which overrides the files, which override the defaults. A
//! program has one [`Table`] over its own struct. Parsing, flags, the printed configuration and the
//! documentation all come from that table.
//!
//! The crates figment, config and confique were considered. They do not report the file and line of
//! each value and each mistake, and do not return all mistakes at once.

mod error;
mod file;
mod key;
mod load;
mod place;
mod print;
mod source;
mod suggest;
mod text;
mod value;

pub use error::{ConfigError, Problem};
pub use key::{Key, Refusal, Shown, Table, list, optional, optional_path, path, put, secret, text};
pub use load::{Inputs, Loaded};
pub use source::{Origin, Source};
pub use text::{ConfigFile, FileText, Need, read};
pub use value::{ByteSize, Raw, Span};
