//! Time that command grants add to the host lookup of `vctl ssh`.
//!
//! Both lookups run on one connection in turn, with the statements of vctl. The statements of a lookup are sent together,
//! as vctl sends them, so that each lookup is one round trip.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vctl_common::pg::tokio_postgres::Client;
use vctl_common::pg::tokio_postgres::types::Type;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::load::stats::Summary;

use crate::report::Findings;
use crate::rig::Bench;

const FIND: &str = include_str!("../../../../../cli/src/inventory/inventory_find.sql");
const MOUNT: &str = include_str!("../../../../../cli/src/ssh_ca/ca_signing_mount.sql");
const GRANTS: &str = include_str!("../../../../../cli/src/login/own_grants.sql");

/// A team with many hosts and users. The user of the lookups is a member of 20 groups with 5 grants each.
const FILL: &str = "
    insert into vctl.servers (hostname, ip, ssh_port, ssh_user, dc)
    select 'bench-' || n, '127.0.0.1', 22, 'root', 'dc-' || n % 10 from generate_series(1, 2000) n;
    insert into vctl.rbac_groups (name) select 'bench-' || n from generate_series(1, 200) n;
    insert into vctl.rbac_members (group_name, vault_user)
    select 'bench-' || 1 + n % 200, 'oidc-bench-' || n from generate_series(1, 5000) n;
    insert into vctl.rbac_members (group_name, vault_user)
    select 'bench-' || n, 'userpass-bench-grants' from generate_series(1, 20) n;
    insert into vctl.rbac_grants (group_name, command, scope)
    select 'bench-' || g, 'ssh', 'dc=dc-' || n from generate_series(1, 200) g, generate_series(1, 5) n;
    analyze";

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    centre.postgres.psql(DATABASE, FILL)?;
    let person = centre.person("bench-grants", &["vctl-user", "vctl-ssh"])?;
    let credential = person.credential("vctl-audit-writer")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rounds = bench.full_or_short(500, 50);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let client = centre.postgres.connect(DATABASE).await?;
        // The function finds the person by the name of the login.
        let login = credential.login().user.replace('"', "\"\"");
        let become_login = format!("set session authorization \"{login}\"");
        client.batch_execute(&become_login).await?;
        let rows = client.query_typed(GRANTS, &[]).await?.len();
        ensure!(rows > 100, "the user has {rows} grants");
        for round in 0..rounds {
            let took = [lookup(&client).await?, lookup_with_grants(&client).await?];
            // The first rounds warm caches.
            if round >= 10 {
                without.push(took[0].as_secs_f64() * 1000.0);
                with.push(took[1].as_secs_f64() * 1000.0);
            }
        }
        anyhow::Ok(())
    })?;
    let (without, with) = (Summary::of(without), Summary::of(with));
    findings.state("host lookup without grants, p50", without.p50, "ms");
    findings.state("host lookup with grants, p50", with.p50, "ms");
    findings.state("with / without grants", with.p50 / without.p50, "");
    let added = with.p50 - without.p50;
    findings.at_most("time that grants add to a lookup, p50", added, "ms", 2.0);
    findings.keep("without_grants_ms", &without)?;
    findings.keep("with_grants_ms", &with)?;
    Ok(findings)
}

async fn lookup(client: &Client) -> Result<Duration> {
    let begun = Instant::now();
    let answers = tokio::join!(
        client.query_typed(
            FIND,
            &[
                (&"bench-1000", Type::TEXT),
                (&None::<std::net::IpAddr>, Type::INET)
            ]
        ),
        client.query_typed(MOUNT, &[(&"ssh", Type::TEXT)]),
        client.query_typed("select now()", &[]),
    );
    ensure!(answers.0?.len() == 1, "the host was not found");
    answers.1?;
    answers.2?;
    Ok(begun.elapsed())
}

async fn lookup_with_grants(client: &Client) -> Result<Duration> {
    let begun = Instant::now();
    let (lookup, grants) = tokio::join!(lookup(client), client.query_typed(GRANTS, &[]));
    lookup?;
    grants?;
    Ok(begun.elapsed())
}
