-- Runs as vctl-audit-ro. The records of a session as the spool held them, by sequence number.
-- $1 session, $2 and $3 first and last day with events of it, $4 only sequence numbers above this one.
select e.seq, e.at, e.wall_offset,
    e.head || coalesce(e.exe, '') || coalesce(e.cwd, '') || coalesce(e.filename, '') || coalesce(e.argv, '')
from vctl.kernel_event e
where e.session_id = $1 and e.day between $2::text::date and $3::text::date and e.seq > $4
order by e.seq
