//! Configuration from one key table: what may be written, where, and how it is printed again.
//!
//! A flag beats the environment, which beats the files, which beat the default. A program has one
//! [`Table`] over its own struct; parsing, flags, the printed configuration and the documentation
//! all come from it.

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
