//! Checks NATS in the way that an agent with `ship: jetstream` uses it. Nothing is published.

use std::time::Duration;

use tokio::runtime;
use tokio::time::timeout;
use vctl_common::causes::WithCauses;

use super::facts::{Asked, StreamFact};
use crate::config::{Config, Ship};
use crate::nats::{LEAST_PAYLOAD, Nats, connect};

/// Time limit for the connection.
const PATIENCE: Duration = Duration::from_secs(12);

/// Connects to NATS, if this host ships by it.
pub(super) fn look(config: &Config) -> Option<StreamFact> {
    if config.nats.ship != Ship::JetStream {
        return None;
    }
    let asked = match config.nats(&format!("vctl-agent check {}", config.host)) {
        Ok(nats) => ask(&nats),
        Err(error) => Asked::failed(
            error.to_string(),
            Some("set `nats_url` in /etc/vctl/agent.yaml"),
        ),
    };
    Some(StreamFact {
        servers: config.nats.nats_url.join(", "),
        asked,
    })
}

fn ask(nats: &Nats) -> Asked {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Asked::failed(WithCauses(&error).to_string(), None),
    };
    let connected = runtime.block_on(async { timeout(PATIENCE, connect(nats)).await });
    let asked = match connected {
        Ok(Ok(client)) if client.max_payload() < LEAST_PAYLOAD => {
            let most = client.max_payload();
            let hint = format!("set `max_payload` of the server to at least {LEAST_PAYLOAD}");
            Asked::failed(
                format!("it accepts messages of {most} bytes only"),
                Some(&hint),
            )
        }
        Ok(Ok(client)) => Asked::Works(client.server_info().version),
        Ok(Err(error)) => Asked::failed(WithCauses(&error).to_string(), error.hint().as_deref()),
        Err(_) => Asked::failed(
            format!("no answer within {} s", PATIENCE.as_secs()),
            Some("check for a firewall between the two"),
        ),
    };
    // A query to a name server that does not answer runs on a thread that cannot be stopped.
    runtime.shutdown_background();
    asked
}
