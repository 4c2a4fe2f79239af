-- Runs as vctl-ro. No parameters. One row per host that is not retired, by name. Ages, and the remaining time of a
-- credential, are in seconds by the database's clock.
select s.hostname::text,
       s.dc,
       s.state,
       left(coalesce(t.agent_version, newest.agent_version), 64) as agent_version,
       extract(epoch from now() - case when isfinite(s.enrolled_at) then s.enrolled_at end)::float8 as enrolled_age,
       extract(epoch from now() - t.reported_at)::float8 as heartbeat_age,
       extract(epoch from now() - newest.last_seen)::float8 as shipped_age,
       t.collector_up,
       left(t.collector_mode, 500) as collector_mode,
       t.events_lost,
       t.events_dropped,
       t.logins_unstamped,
       t.clock_offset_s,
       t.spool_backlog_bytes,
       extract(epoch from now() - case when isfinite(t.oldest_unshipped_at) then t.oldest_unshipped_at end)::float8 as oldest_unshipped_age,
       extract(epoch from case when isfinite(t.secret_id_expires_at) then t.secret_id_expires_at end - now())::float8 as secret_id_left,
       -- A schema older than 0012_limits allows any time and any text.
       case when not isfinite(t.oldest_unshipped_at) or not isfinite(t.secret_id_expires_at)
            then 'the host reported a time that cannot be read' else left(t.problem, 500) end as problem,
       coalesce(machines.names, '{}') as machines,
       doubtful.contradicted as logins_contradicted,
       doubtful.unknown_ca as logins_unknown_ca
from vctl.servers s
left join vctl.server_status t on t.hostname = s.hostname
left join vctl.audit_host h on h.hostname = s.hostname
left join lateral (
    select m.agent_version, m.last_seen from vctl.ingest_machine m
    where m.host_id = h.id order by m.last_seen desc limit 1
) newest on true
-- Machines that reported for this host within 10 minutes, by events or by heartbeat.
left join lateral (
    select array_agg(format('%s at %s', machine_id, coalesce(host(address), 'an unknown address'))
                     order by last_seen desc) as names
    from (
        select distinct on (machine_id) machine_id, address, last_seen
        from (select m.machine_id, m.address, m.last_seen from vctl.ingest_machine m where m.host_id = h.id
              union all select t.machine_id, null, t.reported_at) heard
        where machine_id is not null and last_seen > now() - interval '10 minutes'
        order by machine_id, address is null, last_seen desc
    ) machine
) machines on true
left join vctl.doubtful_logins_v1() doubtful on doubtful.hostname = s.hostname
where s.state <> 'retired'
order by s.hostname
