-- Runs as vctl-audit-ro, every second. Sessions whose export is not finished, and sessions that arrived.
-- $1 sessions whose export is not finished; $2 a transaction: sessions stored by it or by a later one have arrived;
-- $3 time when the export began.
with wanted as (
    select id from vctl.audit_session where id = any ($1::uuid[])
    union
    -- Both bounds are for a database restored from a dump, as in followed.sql.
    select id from vctl.audit_session
    where arrived >= $2::text::xid8 and arrived < pg_snapshot_xmax(pg_current_snapshot())
      and arrived_at > $3::timestamptz - interval '1 hour'
)
select s.id, s.stored, s.closed_at is not null, s.arrived::text
from wanted join vctl.audit_session s using (id)
where s.opened is not null
order by s.opened_at, s.id
