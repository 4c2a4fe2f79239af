//! Tells the truth about its own exec, and ends.
//!
//! Whatever argv it was given: what it does is decided by its environment alone.

use vctl_tests::truth::{Running, Truth, tell};

fn main() -> anyhow::Result<()> {
    tell(&Truth::Running(Box::new(Running::now()?)))
}
