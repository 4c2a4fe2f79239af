//! Kernel side of vctl-agent: which processes of SSH sessions are executed, and how they end.
//!
//! Each probe asks first whether the task is in a session ([`session`]); one that is not leaves
//! after one lookup. Where kernel structs have their members is told by the agent ([`kernel`]).
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![allow(
    internal_features,
    reason = "atomic add exists for this target as an intrinsic only"
)]

mod cgroup;
mod exec;
mod exit;
mod failed;
mod fork;
mod kernel;
mod login;
mod maps;
mod path;
mod phase;
mod session;
mod task;

/// Most helpers we use are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
