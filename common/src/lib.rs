//! Types and formats that the host agent and the workstation share.
//!
//! `agent-ebpf` uses only [`wire`] and [`layout`], without default features.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod layout;
pub mod wire;

#[cfg(feature = "std")]
pub mod atomic_file;
#[cfg(feature = "std")]
pub mod backoff;
#[cfg(feature = "std")]
pub mod causes;
#[cfg(feature = "std")]
pub mod count;
#[cfg(feature = "std")]
pub mod event;
#[cfg(feature = "std")]
pub mod hex;
#[cfg(feature = "std")]
pub mod host;
#[cfg(feature = "std")]
pub mod id;
#[cfg(feature = "std")]
pub mod person;
#[cfg(feature = "std")]
pub mod session;
#[cfg(feature = "std")]
pub mod spool;
#[cfg(feature = "std")]
pub mod status;
#[cfg(feature = "std")]
pub mod time;
#[cfg(feature = "std")]
pub mod yes_no;

#[cfg(any(feature = "config", feature = "centre"))]
pub mod foreign_file;
#[cfg(feature = "centre")]
pub mod file_lock;
#[cfg(feature = "config")]
pub mod config;

#[cfg(any(feature = "terminal", feature = "centre"))]
pub mod escape;
#[cfg(feature = "centre")]
pub mod glob;

// Shared by the command lines of both programs.
#[cfg(feature = "terminal")]
pub mod charset;
#[cfg(feature = "terminal")]
pub mod manual;

// Shared by agent and vctl to reach the centre, in this order.
#[cfg(feature = "centre")]
pub mod secret;
#[cfg(feature = "centre")]
pub mod enrolment;
#[cfg(feature = "centre")]
pub mod centre;
#[cfg(feature = "centre")]
pub mod spans;
#[cfg(feature = "centre")]
pub mod waits;
#[cfg(feature = "centre")]
pub mod dial;
#[cfg(feature = "centre")]
pub mod root_ca;
#[cfg(feature = "centre")]
pub mod tls;
#[cfg(feature = "centre")]
pub mod vault;
#[cfg(feature = "centre")]
pub mod pg;
