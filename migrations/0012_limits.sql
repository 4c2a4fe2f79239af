-- One row, one host or one person must not make a command fail or wait for everybody.
--
-- Functions that take JSON read fields by name and limit each: a time is finite and plausible, a list has a
-- greatest length, a text is cut with `…` where it is for people and refused where it names something.
-- The tables have the same limits, for what is written without a function. Rows from before that are over a
-- limit are cut here, so that the limits hold for all rows.

-- Returns the text, cut to p_most characters, the last of which is then `…`.
create function vctl.cut(p_text text, p_most integer) returns text
    language sql immutable parallel safe
    set search_path = pg_catalog, pg_temp
return case when length(p_text) > p_most then left(p_text, p_most - 1) || '…' else p_text end;

-- Returns a text that names something.
create function vctl.named(p_what text, p_text text, p_most integer) returns text
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if length(p_text) > p_most then
        raise exception '% has % characters, and at most % are taken', p_what, length(p_text), p_most
            using errcode = 'string_data_right_truncation';
    end if;
    return p_text;
end
$$;

-- Returns a time that a client or a host stated. What lies outside of the range is no time of a clock that
-- people set, and several programs cannot even read it.
create function vctl.plausible(p_what text, p_at timestamptz) returns timestamptz
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_at < '1970-01-01 00:00:00+00' or p_at > '2263-01-01 00:00:00+00' then
        raise exception '% is %, which is no time between 1970 and 2262', p_what, p_at
            using errcode = 'datetime_field_overflow';
    end if;
    return p_at;
end
$$;

-- Returns the JSON array that p_what is in p_object, empty where it is not there.
create function vctl.items(p_object jsonb, p_what text, p_most integer) returns jsonb
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
as $$
declare
    items jsonb := coalesce(nullif(p_object -> p_what, 'null'), '[]');
begin
    if jsonb_typeof(items) <> 'array' or jsonb_array_length(items) > p_most then
        raise exception '`%` is no list of at most % items', p_what, p_most
            using errcode = 'array_subscript_error';
    end if;
    return items;
end
$$;

-- Refuses an argument that no client of ours makes, before anything of it is read.
create function vctl.small(p_what text, p_object jsonb, p_bytes integer) returns void
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_object is null or jsonb_typeof(p_object) <> 'object' or pg_column_size(p_object) > p_bytes then
        raise exception '% is no JSON object of at most % bytes', p_what, p_bytes
            using errcode = 'program_limit_exceeded';
    end if;
end
$$;

revoke all on function vctl.cut(text, integer), vctl.named(text, text, integer),
    vctl.plausible(text, timestamptz), vctl.items(jsonb, text, integer), vctl.small(text, jsonb, integer)
    from public;

-- Accesses -----------------------------------------------------------------------------------------

update vctl.access_log
set opened_at = case when opened_at between '1970-01-01 00:00:00+00' and '2263-01-01 00:00:00+00'
                     then opened_at else recorded_at end,
    closed_at = case when closed_at is null or closed_at between '1970-01-01 00:00:00+00' and '2263-01-01 00:00:00+00'
                     then closed_at else greatest(recorded_at, opened_at) end,
    replayed = true,
    vault_user = vctl.cut(vault_user, 1024),
    hostname = vctl.cut(hostname, 255), login_user = vctl.cut(login_user, 255),
    jump_via = array(select vctl.cut(jump, 255) from unnest(jump_via[1:32]) with ordinality as j (jump, nr) order by nr),
    ca_fingerprint = vctl.cut(ca_fingerprint, 128), key_id = vctl.cut(key_id, 1024)
where opened_at < '1970-01-01 00:00:00+00' or opened_at > '2263-01-01 00:00:00+00'
   or closed_at < '1970-01-01 00:00:00+00' or closed_at > '2263-01-01 00:00:00+00'
   or octet_length(vault_user) > 1024 or octet_length(hostname) > 255 or octet_length(login_user) > 255
   or cardinality(jump_via) > 32 or octet_length(array_to_string(jump_via, '')) > 8192
   or octet_length(ca_fingerprint) > 128 or octet_length(key_id) > 1024;
alter table vctl.access_log add constraint access_log_limits check (
    opened_at between '1970-01-01 00:00:00+00' and '2263-01-01 00:00:00+00'
    and (closed_at is null or closed_at between '1970-01-01 00:00:00+00' and '2263-01-01 00:00:00+00')
    and isfinite(recorded_at)
    and length(vault_user) <= 1024 and length(hostname) <= 255 and length(login_user) <= 255
    and cardinality(jump_via) <= 32 and length(array_to_string(jump_via, '')) <= 8192
    and length(ca_fingerprint) <= 128 and length(key_id) <= 1024);

delete from vctl.access_hop where hop > 32;
update vctl.access_hop set hostname = vctl.cut(hostname, 255), ca_fingerprint = vctl.cut(ca_fingerprint, 128)
where octet_length(hostname) > 255 or octet_length(ca_fingerprint) > 128;
alter table vctl.access_hop add constraint access_hop_limits check (
    hop <= 32 and length(hostname) <= 255 and length(ca_fingerprint) <= 128);

-- As in 0010_attempts, with the limits. A row that waited on a machine is taken for a year.
create or replace function vctl.open_access_v1(p_display_name text, p_access jsonb) returns bigint
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person text := vctl.named('the display name', vctl.login_person(p_display_name), 1024);
    attempt uuid;
    waited timestamptz;
    row_id bigint;
begin
    perform vctl.small('an access', p_access, 1048576);
    attempt := (p_access ->> 'attempt_id')::uuid;
    waited := (p_access ->> 'opened_at')::timestamptz;
    if waited < now() - interval '366 days' or waited = 'infinity' then
        raise exception '`opened_at` is %, which is not within the last year', waited
            using errcode = 'datetime_field_overflow';
    end if;
    insert into vctl.access_log (vault_user, login, attempt_id, opened_at, replayed, hostname, login_user,
        target_addr, target_port, jump_via, ca_fingerprint, cert_serial, key_id, command, source_ip,
        source_port, client_host, client_user, vctl_version)
    -- A clock may run ahead. Not `least` alone: it takes null for no argument, and every row would have waited.
    values (person, session_user, attempt, case when waited is null then now() else least(waited, now()) end,
        waited is not null,
        vctl.named('`hostname`', p_access ->> 'hostname', 255),
        vctl.named('`login_user`', p_access ->> 'login_user', 255), (p_access ->> 'target_addr')::inet,
        (p_access ->> 'target_port')::integer,
        array(select vctl.named('an item of `jump_via`', jump, 255)
              from jsonb_array_elements_text(vctl.items(p_access, 'jump_via', 32)) with ordinality as j (jump, nr)
              order by nr),
        vctl.named('`ca_fingerprint`', p_access ->> 'ca_fingerprint', 128),
        (p_access ->> 'cert_serial')::numeric, vctl.cut(p_access ->> 'key_id', 1024),
        vctl.cut(p_access ->> 'command', 4096), (p_access ->> 'source_ip')::inet,
        (p_access ->> 'source_port')::integer, vctl.cut(p_access ->> 'client_host', 255),
        vctl.cut(p_access ->> 'client_user', 255), vctl.cut(p_access ->> 'vctl_version', 64))
    on conflict (vault_user, attempt_id) where attempt_id is not null do nothing
    returning id into row_id;
    if row_id is null then
        -- Of the same access only: with an id that is used twice, another one would go unrecorded.
        select id into row_id from vctl.access_log
        where vault_user = person and attempt_id = attempt and hostname = p_access ->> 'hostname'
          and cert_serial is not distinct from (p_access ->> 'cert_serial')::numeric;
        if row_id is null then
            raise exception 'the attempt % is another access', attempt using errcode = 'unique_violation';
        end if;
        return row_id;
    end if;
    insert into vctl.access_hop (access_id, hop, hostname, ca_fingerprint, cert_serial)
    select row_id, hop, vctl.named('`hostname` of a hop', h ->> 'hostname', 255),
        vctl.named('`ca_fingerprint` of a hop', h ->> 'ca_fingerprint', 128), (h ->> 'cert_serial')::numeric
    from jsonb_array_elements(vctl.items(p_access, 'hops', 32)) with ordinality as hops (h, hop);
    return row_id;
end
$$;

-- As in 0003_access_log, with the limits.
create or replace function vctl.close_access_v1(p_display_name text, p_id bigint, p_end jsonb) returns boolean
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
begin
    perform vctl.small('the end of an access', p_end, 1048576);
    update vctl.access_log
    -- Between its beginning and now, whatever the client says; both are finite.
    set closed_at = greatest(opened_at, least(coalesce((p_end ->> 'closed_at')::timestamptz, now()), now())),
        result = p_end ->> 'result',
        exit_code = (p_end ->> 'exit_code')::integer,
        -- By characters: half of one is refused by Postgres, and the row with it.
        error = vctl.cut(p_end ->> 'error', 500)
    where id = p_id and vault_user = vctl.login_person(p_display_name) and result = 'open';
    return found;
end
$$;

-- People, the inventory ----------------------------------------------------------------------------

delete from vctl.seen_users where octet_length(vault_user) > 1024;
alter table vctl.seen_users add constraint seen_users_limits check (
    length(vault_user) <= 1024 and length(vctl_version) <= 64 and isfinite(first_seen) and isfinite(last_seen));

create or replace function vctl.seen_v1(p_display_name text, p_version text) returns void
    language sql security definer
    set search_path = vctl, pg_temp
as $$
    insert into vctl.seen_users (vault_user, vctl_version)
    values (vctl.named('the display name', vctl.login_person(p_display_name), 1024),
            vctl.cut(coalesce(p_version, ''), 64))
    on conflict (vault_user) do update set last_seen = now(), vctl_version = excluded.vctl_version
$$;

update vctl.servers
set dc = vctl.cut(dc, 255), ssh_user = vctl.cut(ssh_user, 255), ca_role = vctl.cut(ca_role, 255),
    extra_ips = extra_ips[1:256],
    tags = array(select vctl.cut(tag, 255) from unnest(tags[1:64]) with ordinality as t (tag, nr) order by nr),
    last_seen_up = case when isfinite(last_seen_up) then last_seen_up end,
    ca_applied_at = case when isfinite(ca_applied_at) then ca_applied_at end,
    enrolled_at = case when isfinite(enrolled_at) then enrolled_at end,
    created_at = case when isfinite(created_at) then created_at else now() end,
    updated_at = case when isfinite(updated_at) then updated_at else now() end
where octet_length(dc) > 255 or octet_length(ssh_user) > 255 or octet_length(ca_role) > 255
   or cardinality(extra_ips) > 256 or cardinality(tags) > 64 or octet_length(array_to_string(tags, '')) > 8192
   or not (isfinite(created_at) and isfinite(updated_at))
   or not coalesce(isfinite(last_seen_up), true) or not coalesce(isfinite(ca_applied_at), true)
   or not coalesce(isfinite(enrolled_at), true);
-- Whoever enrols hosts or keeps the inventory writes these rows, and everybody reads all of them.
alter table vctl.servers add constraint servers_limits check (
    length(dc) <= 255 and length(ssh_user) <= 255 and length(ca_role) <= 255
    and cardinality(extra_ips) <= 256 and cardinality(tags) <= 64
    and length(array_to_string(tags, '')) <= 16384
    and isfinite(created_at) and isfinite(updated_at) and coalesce(isfinite(last_seen_up), true)
    and coalesce(isfinite(ca_applied_at), true) and coalesce(isfinite(enrolled_at), true));

update vctl.rbac_groups set description = vctl.cut(description, 1024) where octet_length(description) > 1024;
alter table vctl.rbac_groups add constraint rbac_groups_limits check (length(description) <= 1024);
delete from vctl.rbac_members where octet_length(vault_user) > 1024;
alter table vctl.rbac_members add constraint rbac_members_limits check (length(vault_user) <= 1024);
alter table vctl.rbac_grants add constraint rbac_grants_limits check (length(command) <= 64) not valid;
alter table vctl.ca_keys add constraint ca_keys_limits check (
    length(public_key) <= 16384 and length(mount) <= 255 and isfinite(added_at) and isfinite(state_since)) not valid;
alter table vctl.host_trust add constraint host_trust_limits check (isfinite(applied_at)) not valid;
alter table vctl.host_certificate add constraint host_certificate_limits check (
    length(key_fingerprint) <= 128 and cardinality(principals) <= 256
    and length(array_to_string(principals, '')) <= 16384
    and isfinite(valid_before) and isfinite(issued_at)) not valid;

-- Status -------------------------------------------------------------------------------------------

update vctl.server_status
set agent_version = vctl.cut(agent_version, 64), os = vctl.cut(os, 500), kernel = vctl.cut(kernel, 500),
    arch = vctl.cut(arch, 500), collector_mode = vctl.cut(collector_mode, 500), problem = vctl.cut(problem, 500),
    addresses = addresses[1:64],
    oldest_unshipped_at = case when oldest_unshipped_at between '1970-01-01 00:00:00+00' and '2263-01-01 00:00:00+00'
                               then oldest_unshipped_at end,
    secret_id_expires_at = case when secret_id_expires_at between '1970-01-01 00:00:00+00' and '2263-01-01 00:00:00+00'
                                then secret_id_expires_at end;
alter table vctl.server_status add constraint server_status_limits check (
    isfinite(reported_at)
    and (oldest_unshipped_at is null
         or oldest_unshipped_at between '1970-01-01 00:00:00+00' and '2263-01-01 00:00:00+00')
    and (secret_id_expires_at is null
         or secret_id_expires_at between '1970-01-01 00:00:00+00' and '2263-01-01 00:00:00+00')
    and cardinality(addresses) <= 64
    and length(agent_version) <= 64 and length(os) <= 500 and length(kernel) <= 500 and length(arch) <= 500
    and length(collector_mode) <= 500 and length(problem) <= 500);

-- As in 0005_ingest, but each field is named. A field of a newer agent is left out.
create or replace function vctl.status_v1(p_status jsonb) returns void
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
begin
    perform vctl.small('a status', p_status, 65536);
    insert into vctl.server_status as s (hostname, reported_at, agent_version, machine_id, boot_id, os, kernel, arch,
        uptime_s, load1, load5, load15, memory_total_bytes, memory_used_percent, disk_total_bytes,
        disk_used_percent, addresses, collector_up, collector_mode, spool_backlog_bytes, oldest_unshipped_at,
        events_lost, events_dropped, logins_unstamped, secret_id_expires_at, problem)
    values (vctl.login_host(), now(), vctl.cut(coalesce(p_status ->> 'agent_version', ''), 64),
        (p_status ->> 'machine_id')::uuid, (p_status ->> 'boot_id')::uuid, vctl.cut(p_status ->> 'os', 500),
        vctl.cut(p_status ->> 'kernel', 500), vctl.cut(p_status ->> 'arch', 500),
        (p_status ->> 'uptime_s')::bigint, (p_status ->> 'load1')::real, (p_status ->> 'load5')::real,
        (p_status ->> 'load15')::real, (p_status ->> 'memory_total_bytes')::bigint,
        (p_status ->> 'memory_used_percent')::real, (p_status ->> 'disk_total_bytes')::bigint,
        (p_status ->> 'disk_used_percent')::real,
        array(select address::inet
              from jsonb_array_elements_text(vctl.items(p_status, 'addresses', 64)) with ordinality as a (address, nr)
              order by nr),
        (p_status ->> 'collector_up')::boolean, vctl.cut(p_status ->> 'collector_mode', 500),
        (p_status ->> 'spool_backlog_bytes')::bigint,
        vctl.plausible('`oldest_unshipped_at`', (p_status ->> 'oldest_unshipped_at')::timestamptz),
        (p_status ->> 'events_lost')::bigint, (p_status ->> 'events_dropped')::bigint,
        (p_status ->> 'logins_unstamped')::bigint,
        vctl.plausible('`secret_id_expires_at`', (p_status ->> 'secret_id_expires_at')::timestamptz),
        vctl.cut(p_status ->> 'problem', 500))
    on conflict (hostname) do update
    set reported_at = excluded.reported_at, agent_version = excluded.agent_version,
        machine_id = excluded.machine_id, boot_id = excluded.boot_id, os = excluded.os,
        kernel = excluded.kernel, arch = excluded.arch, uptime_s = excluded.uptime_s,
        load1 = excluded.load1, load5 = excluded.load5, load15 = excluded.load15,
        memory_total_bytes = excluded.memory_total_bytes,
        memory_used_percent = excluded.memory_used_percent,
        disk_total_bytes = excluded.disk_total_bytes, disk_used_percent = excluded.disk_used_percent,
        addresses = excluded.addresses, collector_up = excluded.collector_up,
        collector_mode = excluded.collector_mode, spool_backlog_bytes = excluded.spool_backlog_bytes,
        oldest_unshipped_at = excluded.oldest_unshipped_at, events_lost = excluded.events_lost,
        events_dropped = excluded.events_dropped, logins_unstamped = excluded.logins_unstamped,
        secret_id_expires_at = excluded.secret_id_expires_at, problem = excluded.problem;
end
$$;
