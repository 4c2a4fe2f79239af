-- Runs as vctl-audit-ro, every second. Progress of followed sessions, and new sessions.
-- $1 followed sessions; $2 a transaction: sessions stored by it or by a later one are new, null for none;
-- $3 time when following began; $4 a serial, null for any; $5 whether open sessions are wanted too; $6 also sessions
-- opened since then, null for none.
with wanted as (
    select id from vctl.audit_session where id = any ($1::uuid[])
    union
    -- Both bounds are for a database restored from a dump: its transaction ids start anew, and old rows have
    -- greater ones.
    select id from vctl.audit_session
    where arrived >= $2::text::xid8 and arrived < pg_snapshot_xmax(pg_current_snapshot())
      and arrived_at > $3::timestamptz - interval '1 hour'
    union
    select id from vctl.audit_session where $5::boolean and closed_at is null
    union
    select id from vctl.audit_session where opened_at >= $6::timestamptz
)
select s.id, s.stored, s.closed_at is not null,
    (select count(*) from vctl.audit_gap g where g.session_id = s.id)
    + (select count(*) from vctl.audit_gap g
       where g.session_id is null and g.host_id = s.host_id and g.boot_id = s.boot_id),
    s.arrived::text, extract(epoch from s.arrived_at - s.opened_at)::float8
from wanted join vctl.audit_session s using (id)
where s.opened is not null and ($4::text is null or s.cert_serial = $4::text::numeric)
order by s.opened_at, s.id
