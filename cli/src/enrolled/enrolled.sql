-- Runs as vctl-ro. No parameters. Each host of the inventory with its last signs and its former names, by name. A former
-- name that is now a name of this or another host is not listed: its credentials are listed under that host.
select s.hostname::text, s.dc, s.state, s.enrolled_at, t.reported_at, t.secret_id_expires_at,
    (select max(m.last_seen) from vctl.ingest_machine m where m.host_id = h.id) as last_record_at,
    former.names, former.untils, former.people
from vctl.servers s
left join vctl.server_status t on t.hostname = s.hostname
left join vctl.audit_host h on h.hostname = s.hostname
cross join lateral (
    select coalesce(array_agg(f.hostname::text order by f.until desc), '{}') as names,
        coalesce(array_agg(f.until order by f.until desc), '{}') as untils,
        coalesce(array_agg(f.renamed_by order by f.until desc), '{}') as people
    from vctl.host_former_name f
    where f.host_id = h.id and not exists (select from vctl.audit_host own where own.hostname = f.hostname)
) former
order by s.hostname
