-- Who asked to be let in where. One row per connection that was tried, committed before the
-- certificate is offered to any hop.
--
-- Written through two functions: whose row it is comes from the login, and nobody who writes rows
-- can read or change others.

create table vctl.access_log (
    id             bigint generated always as identity primary key,
    -- Vault's whole display name, proven by the login.
    vault_user     text        not null,
    -- The database login that wrote the row; only it may close it.
    login          text        not null default session_user,
    opened_at      timestamptz not null,
    -- When the row got here. Later than opened_at for a row that waited for the database.
    recorded_at    timestamptz not null default now(),
    replayed       boolean     not null default false,
    closed_at      timestamptz,
    -- `open`, then how it ended: a row that stays open is a client that died.
    result         text        not null default 'open'
                   check (result in ('open', 'ok', 'closed', 'failed', 'refused')),
    exit_code      integer,
    error          text        check (length(error) <= 500),
    hostname       text        not null,
    login_user     text        not null,
    target_addr    inet,
    target_port    integer     check (target_port between 1 and 65535),
    jump_via       text[]      not null default '{}',
    -- Of the certificate offered to the target; those of jump hosts are in access_hop.
    ca_fingerprint text,
    cert_serial    vctl.cert_serial,
    key_id         text,
    command        text        check (length(command) <= 4096),
    -- The client's own end of its first connection, as its socket has it.
    source_ip      inet,
    source_port    integer,
    client_host    text,
    client_user    text,
    vctl_version   text,
    check ((result = 'open') = (closed_at is null))
);
create index on vctl.access_log (opened_at desc);
create index on vctl.access_log (cert_serial, ca_fingerprint);
create index on vctl.access_log (hostname, opened_at desc);
create index on vctl.access_log (vault_user, opened_at desc);
create index on vctl.access_log (source_ip, opened_at desc);

-- One certificate per hop, the jump hosts in their order.
create table vctl.access_hop (
    access_id      bigint  not null references vctl.access_log on delete cascade,
    hop            integer not null check (hop >= 1),
    hostname       text    not null,
    ca_fingerprint text,
    cert_serial    vctl.cert_serial,
    primary key (access_id, hop)
);
create index on vctl.access_hop (cert_serial, ca_fingerprint);

-- p_access: hostname, login_user, target_addr, target_port, jump_via, ca_fingerprint, cert_serial (a
-- string), key_id, command, source_ip, source_port, client_host, client_user, vctl_version, hops
-- [{hostname, ca_fingerprint, cert_serial}], and opened_at for a row that waited. Returns its id.
create function vctl.open_access_v1(p_display_name text, p_access jsonb) returns bigint
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person text := vctl.login_person(p_display_name);
    -- Not `least` alone: it takes null for no argument, and every row would have waited.
    waited timestamptz := case when p_access ->> 'opened_at' is not null
        then least((p_access ->> 'opened_at')::timestamptz, now()) end;
    row_id bigint;
begin
    insert into vctl.access_log (vault_user, login, opened_at, replayed, hostname, login_user, target_addr,
        target_port, jump_via, ca_fingerprint, cert_serial, key_id, command, source_ip, source_port,
        client_host, client_user, vctl_version)
    values (person, session_user, coalesce(waited, now()), waited is not null,
        p_access ->> 'hostname', p_access ->> 'login_user', (p_access ->> 'target_addr')::inet,
        (p_access ->> 'target_port')::integer,
        coalesce(array(select jsonb_array_elements_text(p_access -> 'jump_via')), '{}'),
        p_access ->> 'ca_fingerprint', (p_access ->> 'cert_serial')::numeric, p_access ->> 'key_id',
        left(p_access ->> 'command', 4096), (p_access ->> 'source_ip')::inet,
        (p_access ->> 'source_port')::integer, left(p_access ->> 'client_host', 255),
        left(p_access ->> 'client_user', 255), left(p_access ->> 'vctl_version', 64))
    returning id into row_id;
    insert into vctl.access_hop (access_id, hop, hostname, ca_fingerprint, cert_serial)
    select row_id, hop, h ->> 'hostname', h ->> 'ca_fingerprint', (h ->> 'cert_serial')::numeric
    from jsonb_array_elements(coalesce(p_access -> 'hops', '[]')) with ordinality as hops (h, hop);
    return row_id;
end
$$;

-- p_end: result, exit_code, error, closed_at for a row that waited. Only the person who opened a row
-- may close it, and only once. Returns whether there was such a row.
create function vctl.close_access_v1(p_display_name text, p_id bigint, p_end jsonb) returns boolean
    language sql security definer
    set search_path = vctl, pg_temp
as $$
    with closed as (
        update vctl.access_log
        set closed_at = greatest(opened_at, least(coalesce((p_end ->> 'closed_at')::timestamptz, now()), now())),
            result = p_end ->> 'result',
            exit_code = (p_end ->> 'exit_code')::integer,
            -- By characters: half of one is refused by Postgres, and the row with it.
            error = left(p_end ->> 'error', 500)
        where id = p_id and vault_user = vctl.login_person(p_display_name) and result = 'open'
        returning id
    )
    select exists (select from closed)
$$;

revoke all on function vctl.open_access_v1(text, jsonb), vctl.close_access_v1(text, bigint, jsonb) from public;
grant execute on function vctl.open_access_v1(text, jsonb), vctl.close_access_v1(text, bigint, jsonb)
    to vctl_audit_writer;
grant select on vctl.access_log, vctl.access_hop to vctl_audit_ro;
