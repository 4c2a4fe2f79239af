-- Runs as vctl_owner before any migration. The ledger: applied migrations, their checksums and their logins.
create schema if not exists vctl;
create table if not exists vctl.schema_migration (
    version    integer     primary key check (version >= 1),
    name       text        not null unique,
    sha256     text        not null check (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz not null default now(),
    -- The login, which Vault named after the person.
    applied_by text        not null default session_user
);
grant usage on schema vctl to vctl_ro, vctl_rw, vctl_audit_ro;
grant select on vctl.schema_migration to vctl_ro, vctl_rw, vctl_audit_ro;
