//! The servers of a centre as a far workstation reaches them: each behind a line that delays all bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Centre;
use crate::delay_line::{Crossings, DelayLine, FlightClock};

/// A delay line in front of each server.
#[derive(Debug)]
pub struct FarServers {
    pub vault: DelayLine,
    pub postgres: DelayLine,
    pub sshd: DelayLine,
    clock: FlightClock,
    environment: Vec<(&'static str, String)>,
}

/// What one command has done at each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FarCrossings {
    pub vault: Crossings,
    pub postgres: Crossings,
    pub sshd: Crossings,
    /// How many times the command had to wait for an answer of any server, side by side or not.
    pub flights: u32,
}

impl FarCrossings {
    /// Returns the round trips to the server of this name: `vault`, `postgres` or `sshd`.
    pub fn round_trips(&self) -> [(&'static str, u32); 3] {
        [
            ("vault", self.vault.round_trips),
            ("postgres", self.postgres.round_trips),
            ("sshd", self.sshd.round_trips),
        ]
    }
}

impl FarServers {
    /// Starts the lines.
    ///
    /// # Errors
    /// The centre has no host.
    pub fn start(centre: &Centre, round_trip: Duration) -> Result<Self> {
        let clock = FlightClock::default();
        let line = |port| {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            DelayLine::start_with(server, round_trip, &clock)
        };
        let host = centre.host.as_ref().context("there is no host")?;
        let (vault, postgres) = (line(centre.bao.port)?, line(centre.postgres.port)?);
        let address = format!("https://127.0.0.1:{}", vault.port());
        let mut environment = centre.environment();
        for (name, value) in &mut environment {
            match *name {
                "VAULT_ADDR" | "VCTL_VAULT_ADDR" => value.clone_from(&address),
                "VCTL_DB_PORT" => *value = postgres.port().to_string(),
                _ => {}
            }
        }
        Ok(Self {
            vault,
            postgres,
            sshd: line(host.port())?,
            clock,
            environment,
        })
    }

    /// The settings of [`Centre::environment`], with the ports of the lines.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment.clone()
    }

    pub fn ssh_port(&self) -> u16 {
        self.sshd.port()
    }

    /// Returns the crossings since the last call.
    pub fn take(&self) -> FarCrossings {
        FarCrossings {
            flights: self.clock.take(),
            vault: self.vault.take(),
            postgres: self.postgres.take(),
            sshd: self.sshd.take(),
        }
    }
}
