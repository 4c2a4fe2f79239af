//! PAM's files: the session stack of a service, and the line that stamps a login.

mod edit;
mod files;
mod lines;
mod place;
mod stack;

pub use edit::{Change, EditError, LineOptions, Preview, add, line, preview, remove};
pub use files::PamFiles;
pub use stack::{Module, session_stack, stamp_programs, stamps};
