//! Reads hosts and routes from Postgres. Parameter types are given, so that each query is one round trip.

use std::net::IpAddr;
use std::time::SystemTime;

use postgres_types::{ToSql, Type};
use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::{Client, Error, GenericClient, Row};

use crate::centre::instant::{Instant, whole};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::{AgentSeen, Host, HostState, Route, RouteError, address, order};

/// Returns all hosts, including retired ones, by data centre and name.
pub(crate) async fn hosts(client: &Client) -> Result<Vec<Host>, Stop> {
    let statement = include_str!("inventory_hosts.sql");
    let rows = client.query_typed(statement, &[]).await;
    let mut hosts = read(&rows.map_err(PgError::from)?)?;
    order::sort(&mut hosts);
    Ok(hosts)
}

/// Returns all hosts of the first step with a result, like `inventory::resolve`.
pub(crate) async fn find(client: &Client, query: &str) -> Result<Vec<Host>, Stop> {
    let (name, ip) = (query.to_lowercase(), address(query));
    let statement = include_str!("inventory_find.sql");
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&name, Type::TEXT), (&ip, Type::INET)];
    let rows = client.query_typed(statement, &values).await;
    let mut hosts = read(&rows.map_err(PgError::from)?)?;
    hosts.sort_by(|one, other| order::by_name(&one.name, &other.name));
    Ok(hosts)
}

/// Returns the route to a host.
pub(crate) async fn route(client: &impl GenericClient, name: &str) -> Result<Route, Stop> {
    let statement = include_str!("inventory_route.sql");
    let rows = client.query_typed(statement, &[(&name, Type::TEXT)]).await;
    let chain = read(&rows.map_err(PgError::from)?)?;
    Ok(Route::from_chain(name, chain)?)
}

/// Returns the database's clock, to compare with reports of agents.
pub(crate) async fn clock(client: &Client) -> Result<SystemTime, Stop> {
    let row = client.query_typed_one("select now()", &[]).await;
    Ok(row.and_then(|row| row.try_get(0)).map_err(PgError::from)?)
}

fn read(rows: &[Row]) -> Result<Vec<Host>, Stop> {
    let hosts: Result<Vec<Host>, Error> = rows.iter().map(host).collect();
    Ok(hosts.map_err(PgError::from)?)
}

fn host(row: &Row) -> Result<Host, Error> {
    let version: Option<String> = row.try_get("agent_version")?;
    let reported = row.try_get::<_, Option<Instant>>("reported_at")?;
    let reported = reported.and_then(|at| at.0);
    let last_seen_up = row.try_get::<_, Option<Instant>>("last_seen_up")?;
    let clock_offset_s = row.try_get::<_, Option<f64>>("clock_offset_s")?;
    let last_probed_at = row.try_get::<_, Option<Instant>>("last_probed_at")?;
    let agent = |(version, reported_at)| AgentSeen {
        version,
        reported_at,
        clock_offset_s: clock_offset_s.map(whole),
    };
    let state: &str = row.try_get("state")?;
    let observed: Option<Vec<IpAddr>> = row.try_get("observed_ips")?;
    Ok(Host {
        name: row.try_get("hostname")?,
        dc: row.try_get("dc")?,
        ip: row.try_get("ip")?,
        // A check of the table limits the port.
        ssh_port: u16::try_from(row.try_get::<_, i32>("ssh_port")?).unwrap_or(22),
        ssh_user: row.try_get("ssh_user")?,
        jump_via: row.try_get("jump_via")?,
        extra_ips: row.try_get("extra_ips")?,
        observed_ips: observed.unwrap_or_default(),
        ca_role: row.try_get("ca_role")?,
        // An unknown state of a newer schema counts as broken.
        state: HostState::of_word(state).unwrap_or(HostState::Broken),
        last_seen_up: last_seen_up.and_then(|at| at.0),
        last_probed_at: last_probed_at.and_then(|at| at.0),
        agent: version.zip(reported).map(agent),
        tags: row.try_get("tags")?,
    })
}

impl From<RouteError> for Stop {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        let (exit, hint) = match error {
            RouteError::Unknown(_) => (Exit::NotFound, "`vctl list` shows the hosts".to_owned()),
            RouteError::Cycle { again: host, .. } | RouteError::NoJump { host, .. } => {
                let hint = format!("set the jump host: `vctl edit {host} --jump NAME`");
                (Exit::Config, hint)
            }
        };
        CliError::new(exit, message).hint(hint).into()
    }
}
