//! Ports on loopback for servers that are stopped and started again.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

const LOWEST: u16 = 20_000;

/// Returns a port without a listener that this process did not get before.
///
/// The port is below the range for outgoing connections. In that range, a client that keeps trying to reach a
/// stopped server would sooner or later get the server's own port.
pub fn free() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let first_outgoing: u16 = range
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok())
        .context("`ip_local_port_range` has no first port")?;
    let count = first_outgoing
        .checked_sub(LOWEST)
        .filter(|count| *count > 0)
        .with_context(|| format!("outgoing connections may take ports from {first_outgoing} on"))?;
    // Processes that search at the same time begin at different ports.
    let start = std::process::id().wrapping_mul(37) % u32::from(count);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let candidates = (0..u32::from(count)).map(|step| (start + step) % u32::from(count));
    for candidate in candidates {
        let port = LOWEST + u16::try_from(candidate)?;
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    anyhow::bail!("no port from {LOWEST} to {first_outgoing} is free on 127.0.0.1")
}
