-- Runs in the transaction of the migration.
insert into vctl.schema_migration (version, name, sha256) values ($1, $2, $3)
