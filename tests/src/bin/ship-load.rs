//! Writes events into a spool and ships them until it is killed: an agent without a probe.
//!
//! Errors are logged to standard error. `ship-load DIR HOST VAULT_ADDR DB_PORT CA`: DIR contains `role_id` and `secret_id`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use vctl_agent::centre::Centre;
use vctl_common::centre::{DbSettings, Settings, VaultSettings};
use vctl_common::tls::Trust;
use vctl_tests::centre::DB_NAME;
use vctl_tests::ship::Source;

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let mut args = std::env::args().skip(1);
    let mut next = || {
        args.next()
            .context("usage: ship-load DIR HOST VAULT_ADDR DB_PORT CA")
    };
    let dir = PathBuf::from(next()?);
    let (host, vault, port) = (next()?, next()?, next()?);
    let trust = Trust::File(PathBuf::from(next()?));
    let way = Centre {
        settings: Settings {
            vault: VaultSettings {
                trust: trust.clone(),
                ..VaultSettings::new(vault)
            },
            db: DbSettings {
                port: port.parse()?,
                server_name: Some(DB_NAME.to_owned()),
                trust,
                ..DbSettings::new("127.0.0.1")
            },
        },
        host: host.parse()?,
        approle_mount: "approle".to_owned(),
        role_id_file: dir.join("role_id"),
        secret_id_file: dir.join("secret_id"),
    };
    // Segments are small, so some kills happen at the change to the next segment.
    let mut source = Source::open(&dir.join("spool"), 128 << 10, 1 << 30)?;
    let _shipper = source.ship(&way)?;
    loop {
        let id = source.log_in(1)?;
        for _ in 0..30 {
            source.work(id, 40)?;
            std::thread::sleep(Duration::from_millis(3));
        }
        source.log_out(id)?;
    }
}
