-- Runs as vctl-audit-ro. Records of a session as the spool held them, by their numbers.
-- $1 session, $2 and $3 the days that hold something of it, $4 only numbers above this one.
select e.seq, e.at, e.wall_offset,
    e.head || coalesce(e.exe, '') || coalesce(e.cwd, '') || coalesce(e.filename, '') || coalesce(e.argv, '')
from vctl.kernel_event e
where e.session_id = $1 and e.day between $2::text::date and $3::text::date and e.seq > $4
order by e.seq
