//! Records its own exec in the truth file, and ends.
//!
//! The program ignores its arguments: only its environment decides what it does.

use vctl_tests::truth::{Running, Truth, tell};

fn main() -> anyhow::Result<()> {
    tell(&Truth::Running(Box::new(Running::now()?)))
}
