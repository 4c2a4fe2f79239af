//! Adds our CA to the trust store of the operating system, and removes it.
//!
//! [`plan`] decides the steps without changing anything; [`apply`] applies them.

mod authority;
mod apply;
mod plan;
mod system;

pub(crate) use apply::{StepError, apply};
pub(crate) use authority::{RootCa, read};
pub(crate) use plan::{StoreStep, install, remove};
pub(crate) use system::System;
