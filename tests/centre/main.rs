//! Guarantees of the centre, on a real OpenBao and a real Postgres. Each file checks one guarantee.
//!
//! Specs share one centre, and each spec creates its own database. A spec that stops a server has its own centre.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]

mod fixture;
mod login;
mod ssh;
mod mcp;
mod openssh;
mod ssh_ca;
mod rbac;
mod inventory;
mod ingest;
mod reading;
mod live;
mod export;
mod setup;
mod command;
mod readme;
