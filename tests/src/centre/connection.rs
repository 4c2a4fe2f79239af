//! A superuser's connection that stays open, for specs that cannot start a `psql` for each query.

use anyhow::{Context, Result};
use vctl_common::pg::tokio_postgres::{Client, Config, config::SslMode};

use super::postgres::{DB_ADMIN, DB_NAME, Postgres};

impl Postgres {
    /// Connects over TLS, because the server refuses other connections.
    pub async fn connect(&self, database: &str) -> Result<Client> {
        let tls = super::api::tls_of(self.ca())?;
        let tls = tokio_postgres_rustls::MakeRustlsConnect::new(tls);
        let mut config = Config::new();
        config
            .host(DB_NAME)
            .hostaddr("127.0.0.1".parse()?)
            .port(self.port)
            .dbname(database)
            .user(DB_ADMIN)
            .password(self.password().expose())
            .ssl_mode(SslMode::Require);
        let (client, connection) = config
            .connect(tls)
            .await
            .context("cannot connect to Postgres")?;
        tokio::spawn(connection);
        Ok(client)
    }
}
