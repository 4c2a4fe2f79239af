-- Runs as vctl-audit-ro, every second. How far sessions have got: those of $1, without them all that
-- are open. $2 are some more, which were open when last asked for.
select s.id, s.stored, s.closed_at is not null,
    (select count(*) from vctl.audit_gap g where g.session_id = s.id)
    + (select count(*) from vctl.audit_gap g
       where g.session_id is null and g.host_id = s.host_id and g.boot_id = s.boot_id)
from vctl.audit_session s
where s.opened is not null
  and ($1::uuid[] is null or s.id = any ($1))
  and ($1::uuid[] is not null or s.closed_at is null or s.id = any ($2))
order by s.opened_at, s.id
