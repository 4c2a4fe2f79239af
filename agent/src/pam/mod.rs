//! PAM's files: the session stack of a service, and the lines that stamp a login.

mod control;
mod edit;
mod files;
mod inside;
mod jump;
mod lines;
mod needs;
mod place;
mod stack;

pub use edit::{Change, EditError, LineOptions, Preview, add, line, preview, remove};
pub use files::PamFiles;
pub use inside::{LeavesRoot, inside};
pub use jump::skips_stamp;
pub use needs::{StampLine, stamp_lines};
pub use stack::{Module, session_stack, stamp_programs, stamps};
