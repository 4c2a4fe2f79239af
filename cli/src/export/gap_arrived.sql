-- Runs as vctl-audit-ro, every second. Gaps that arrived. If a session is stored after its gap, the gap arrives with
-- the session, and again with a session that arrives again.
-- $1 a transaction: gaps stored by it or by a later one have arrived; $2 time when the export began; $3 exported gaps;
-- $4 part of a present or former name of a host, null for any.
with wanted as (
    select id from vctl.audit_gap
    where arrived >= $1::text::xid8 and arrived < pg_snapshot_xmax(pg_current_snapshot())
      and arrived_at > $2::timestamptz - interval '1 hour'
    union
    select g.id from vctl.audit_session s join vctl.audit_gap g on g.session_id = s.id
    where s.arrived >= $1::text::xid8 and s.arrived < pg_snapshot_xmax(pg_current_snapshot())
      and s.arrived_at > $2::timestamptz - interval '1 hour'
)
select g.id, h.hostname, g.boot_id, g.session_id, left(g.cause, 64), g.events, g.from_at, g.to_at,
    encode(g.sha256, 'hex'),
    greatest(g.arrived, s.arrived)::text, g.host_id,
    $4::text is null or g.host_id in
        (select id from vctl.audit_host where position(lower($4) in lower(hostname)) > 0
         union select host_id from vctl.host_former_name where position(lower($4) in lower(hostname)) > 0),
    g.arrived::text
from wanted
join vctl.audit_gap g using (id)
join vctl.audit_host h on h.id = g.host_id
left join vctl.audit_session s on s.id = g.session_id
where (g.session_id is null or s.opened is not null) and g.id <> all ($3::bigint[])
order by g.id
limit 1000
