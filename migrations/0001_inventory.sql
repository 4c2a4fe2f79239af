-- Hosts, who has logged in, who may run which command of the client, and the SSH CAs we know.
--
-- Runs as vctl_owner. Table rights hang on group roles that nobody can log in as; Vault's dynamic
-- users only join them. Granting to each dynamic user instead makes the access list of a table
-- longer with every lease that was not revoked, until Postgres refuses the next one.

grant usage on schema vctl to vctl_ro, vctl_rw, vctl_identity, vctl_audit_ro, vctl_audit_writer,
    vctl_audit_ingest, vctl_status, vctl_pruner, vctl_vault;

-- A serial is an unsigned 64-bit number, which bigint does not hold. 0 means "the CA set none".
create domain vctl.cert_serial as numeric(20, 0)
    check (value between 1 and 18446744073709551615);

-- As an inventory and known_hosts key it has to survive a shell, a URL and a Vault path.
create domain vctl.host_name as text
    check (value ~ '^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$');

create table vctl.servers (
    hostname      vctl.host_name primary key,
    ip            inet        not null,
    ssh_port      integer     not null default 22 check (ssh_port between 1 and 65535),
    ssh_user      text        not null default 'root' check (ssh_user <> ''),
    dc            text        not null default 'unknown',
    -- Its deletion is refused while others are reached through it.
    jump_via      vctl.host_name references vctl.servers on update cascade on delete restrict,
    extra_ips     inet[]      not null default '{}',
    ca_role       text        not null default 'sre-core' check (ca_role <> ''),
    state         text        not null default 'active'
                  check (state in ('active', 'maintenance', 'broken', 'retired')),
    tags          text[]      not null default '{}',
    -- When `vctl sync` last reached its SSH port.
    last_seen_up  timestamptz,
    ca_applied_at timestamptz,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    check (jump_via is distinct from hostname)
);
create index on vctl.servers (dc, hostname);
create index on vctl.servers (ip);
create index on vctl.servers (jump_via);

-- What `vctl-agent node` reports. Written through vctl.status_v1 alone: a host has its own row only.
create table vctl.server_status (
    hostname             vctl.host_name primary key
                         references vctl.servers on update cascade on delete cascade,
    reported_at          timestamptz not null default now(),
    agent_version        text        not null,
    machine_id           uuid,
    boot_id              uuid,
    os                   text,
    kernel               text,
    arch                 text,
    uptime_s             bigint,
    load1                real,
    load5                real,
    load15               real,
    memory_total_bytes   bigint,
    memory_used_percent  real check (memory_used_percent between 0 and 100),
    disk_total_bytes     bigint,
    disk_used_percent    real check (disk_used_percent between 0 and 100),
    addresses            inet[]      not null default '{}',
    -- Of the collector on the same host; null where none runs.
    collector_up         boolean,
    collector_mode       text,
    spool_backlog_bytes  bigint,
    oldest_unshipped_at  timestamptz,
    -- Since the host was booted.
    events_lost          bigint,
    events_dropped       bigint,
    logins_unstamped     bigint,
    secret_id_expires_at timestamptz,
    problem              text
);

create table vctl.seen_users (
    -- The whole display name that Vault gave the token: `oidc-albert`.
    vault_user   text primary key check (vault_user <> ''),
    first_seen   timestamptz not null default now(),
    last_seen    timestamptz not null default now(),
    vctl_version text        not null default ''
);

create table vctl.rbac_groups (
    name        text primary key check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    description text not null default '',
    created_at  timestamptz not null default now()
);
create table vctl.rbac_members (
    group_name text not null references vctl.rbac_groups on update cascade on delete cascade,
    vault_user text not null check (vault_user <> ''),
    added_at   timestamptz not null default now(),
    primary key (group_name, vault_user)
);
create index on vctl.rbac_members (vault_user);
create table vctl.rbac_grants (
    group_name text not null references vctl.rbac_groups on update cascade on delete cascade,
    -- `*`, or a command that changes something.
    command    text not null check (command ~ '^(\*|[a-z][a-z-]*)$'),
    granted_at timestamptz not null default now(),
    primary key (group_name, command)
);

-- Only of a certificate whose CA stands here is the key id a person's name: our Vault wrote it.
create table vctl.ca_keys (
    -- As OpenSSH prints it.
    fingerprint text primary key check (fingerprint ~ '^SHA256:[A-Za-z0-9+/]{43}$'),
    public_key  text        not null,
    mount       text        not null,
    state       text        not null default 'active' check (state in ('next', 'active', 'retired')),
    added_at    timestamptz not null default now()
);

grant select on vctl.servers, vctl.server_status, vctl.seen_users,
                vctl.rbac_groups, vctl.rbac_members, vctl.rbac_grants, vctl.ca_keys
    to vctl_ro, vctl_rw, vctl_audit_ro;
grant insert, update, delete on vctl.servers, vctl.rbac_groups, vctl.rbac_members,
                                vctl.rbac_grants, vctl.ca_keys
    to vctl_rw;
grant delete on vctl.server_status, vctl.seen_users to vctl_rw;
