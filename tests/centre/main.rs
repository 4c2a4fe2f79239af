//! What the centre promises, on a real OpenBao and a real Postgres: one file per promise.
//!
//! Specs share one centre and make a database each; who stops a server has a centre of his own.
#![allow(clippy::unwrap_used, reason = "a spec that cannot go on has failed")]

mod fixture;
mod login;
mod ssh;
mod openssh;
mod ssh_ca;
mod inventory;
mod ingest;
mod reading;
mod setup;
mod command;
mod readme;
