//! The centre as this host knows it: its address, the login at Vault and the host's enrolment.

mod enrolled;
mod login;

pub use enrolled::{EnrolledError, enrolment};
pub use login::{Centre, HostLoginError};
