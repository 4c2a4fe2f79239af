//! The authorities that the operating system believes: putting ours there, and taking them away.
//!
//! What to do is decided in [`plan`] without touching anything; [`carry_out`] does it.

mod authority;
mod apply;
mod plan;
mod system;

pub(crate) use apply::{Failed, carry_out};
pub(crate) use authority::{Authority, read};
pub(crate) use plan::{Step, install, remove};
pub(crate) use system::System;
