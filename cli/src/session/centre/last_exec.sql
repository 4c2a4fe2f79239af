-- Runs as vctl-audit-ro. The last program that a process executed before an event of a session.
-- $1 session, $2 and $3 first and last day with events of it, $4 sequence number of the event, $5 pid.
select e.seq, e.at, e.wall_offset,
    e.head || coalesce(e.exe, '') || coalesce(e.cwd, '') || coalesce(e.filename, '') || coalesce(e.argv, '')
from vctl.kernel_event e
where e.session_id = $1 and e.day between $2::text::date and $3::text::date and e.seq < $4
  and e.kind = 1 and e.pid = $5
order by e.seq desc
limit 1
