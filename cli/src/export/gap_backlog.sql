-- Runs as vctl-audit-ro. Gaps that were stored before an export began. The last column: whether the session of the gap
-- was stored or changed after the export began, so that the gap arrives with it.
-- $1 the last gap of the previous page; $2 and $3 where the export began: the oldest transaction that was running, and
-- the time; $4 maximum number of rows; $5 part of a present or former name of a host, null for any.
select g.id, h.hostname, g.boot_id, g.session_id, left(g.cause, 64), g.events, g.from_at, g.to_at,
    encode(g.sha256, 'hex'), null::text, g.host_id,
    $5::text is null or g.host_id in
        (select id from vctl.audit_host where position(lower($5) in lower(hostname)) > 0
         union select host_id from vctl.host_former_name where position(lower($5) in lower(hostname)) > 0),
    g.arrived::text,
    coalesce(s.arrived >= $2::text::xid8 and s.arrived_at > $3::timestamptz - interval '1 hour', false)
from vctl.audit_gap g
join vctl.audit_host h on h.id = g.host_id
left join vctl.audit_session s on s.id = g.session_id
where g.id > $1
  -- The other gaps arrive while the export runs.
  and not coalesce(g.arrived >= $2::text::xid8 and g.arrived_at > $3::timestamptz - interval '1 hour', false)
  and (g.session_id is null or s.opened is not null)
order by g.id
limit $4
