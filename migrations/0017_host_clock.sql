-- A host with a wrong clock refuses good certificates, and says so in its own log only. Its heartbeat brings
-- its clock, and the difference to the database's clock is kept: what the host's clock shows when the call
-- arrives, minus ours. The way of the call is in it, so a host seems to be behind by some milliseconds.
alter table vctl.server_status add column clock_offset_s double precision;

-- As in 0012_limits, with the clock. The heartbeat of an older agent has none, and none is kept then.
create or replace function vctl.status_v1(p_status jsonb) returns void
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
begin
    perform vctl.small('a status', p_status, 65536);
    insert into vctl.server_status as s (hostname, reported_at, agent_version, machine_id, boot_id, os, kernel, arch,
        uptime_s, load1, load5, load15, memory_total_bytes, memory_used_percent, disk_total_bytes,
        disk_used_percent, addresses, collector_up, collector_mode, spool_backlog_bytes, oldest_unshipped_at,
        events_lost, events_dropped, logins_unstamped, secret_id_expires_at, problem, clock_offset_s)
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
        vctl.cut(p_status ->> 'problem', 500),
        case when (p_status ->> 'clock')::float8 between 0 and 9223372036
             then (p_status ->> 'clock')::float8 - extract(epoch from clock_timestamp())::float8 end)
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
        secret_id_expires_at = excluded.secret_id_expires_at, problem = excluded.problem,
        clock_offset_s = excluded.clock_offset_s;
end
$$;
