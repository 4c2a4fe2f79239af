//! Logins: from the request for a stamp to the registry of open sessions, which attribution reads.

pub mod auth_info;
pub mod protocol;
pub mod late_login;
pub mod login;
pub mod server;
pub mod session_record;
pub mod registry;
pub mod stated_losses;

mod cert_blob;
mod boot_clock;

pub use boot_clock::boot_now;
