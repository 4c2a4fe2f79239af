//! Hosts, and the way to each.

use std::net::IpAddr;

use vctl_common::pg::tokio_postgres::{Client, Row};

use super::failed;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::{AgentSeen, Host, HostState, Route};

/// Returns all that the first step finds which finds anything: exact name, address, part of a name.
pub(crate) async fn find(client: &Client, query: &str) -> Result<Vec<Host>, Stop> {
    let address = query.parse::<IpAddr>().ok().map(|ip| ip.to_string());
    let statement = include_str!("inventory_find.sql");
    let rows = client.query(statement, &[&query, &address]).await;
    rows.map_err(failed)?.iter().map(host).collect()
}

/// Returns the way to the host of this name.
pub(crate) async fn route(client: &Client, name: &str) -> Result<Route, Stop> {
    let statement = include_str!("inventory_route.sql");
    let rows = client.query(statement, &[&name]).await.map_err(failed)?;
    let hops: Result<Vec<Host>, Stop> = rows.iter().map(host).collect();
    let hops = hops?;
    if let Some(outermost) = hops.first().and_then(|hop| hop.jump_via.as_ref()) {
        let message = format!("the way to `{name}` leads through `{outermost}` again");
        return Err(CliError::new(Exit::Config, message).into());
    }
    if hops.is_empty() {
        let message = format!("there is no host `{name}` in the inventory");
        return Err(CliError::new(Exit::NotFound, message).into());
    }
    Ok(Route { hops })
}

fn host(row: &Row) -> Result<Host, Stop> {
    let address = |text: &str| {
        text.parse().map_err(|_| {
            CliError::new(Exit::Failure, format!("`{text}` of the inventory is no address")).into()
        })
    };
    let addresses = |column: &str| -> Result<Vec<IpAddr>, Stop> {
        let texts: Vec<&str> = row.try_get(column).map_err(failed)?;
        texts.into_iter().map(address).collect()
    };
    let text = |column: &str| row.try_get::<_, String>(column).map_err(failed);
    let version: Option<String> = row.try_get("agent_version").map_err(failed)?;
    let reported = row.try_get("reported_at").map_err(failed)?;
    Ok(Host {
        name: text("hostname")?,
        dc: text("dc")?,
        ip: address(&text("ip")?)?,
        ssh_port: u16::try_from(row.try_get::<_, i32>("ssh_port").map_err(failed)?).unwrap_or(22),
        ssh_user: text("ssh_user")?,
        jump_via: row.try_get("jump_via").map_err(failed)?,
        extra_ips: addresses("extra_ips")?,
        observed_ips: addresses("observed_ips")?,
        ca_role: text("ca_role")?,
        state: match &*text("state")? {
            "maintenance" => HostState::Maintenance,
            "broken" => HostState::Broken,
            "retired" => HostState::Retired,
            _ => HostState::Active,
        },
        last_seen_up: row.try_get("last_seen_up").map_err(failed)?,
        agent: version.zip(reported).map(|(version, reported_at)| AgentSeen { version, reported_at }),
        tags: row.try_get("tags").map_err(failed)?,
    })
}
