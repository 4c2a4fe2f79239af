-- Runs as vctl-audit-ro. Rows of the access log that were stored before an export began. For each row: whether its
-- beginning, and whether its end, was stored before.
-- $1 the last row of the previous page; $2 and $3 where the export began: the oldest transaction that was running, and
-- the time; $4 opened since, null for any; $5 maximum number of rows.
select a.id, not coalesce(opened.is_later, false), a.result <> 'open' and not coalesce(ended.is_later, false)
from vctl.access_log a
-- Later changes arrive while the export runs.
cross join lateral (
    select bool_or(c.arrived >= $2::text::xid8 and c.arrived_at > $3::timestamptz - interval '1 hour') as is_later
    from vctl.access_change c where c.access_id = a.id and c.what = 'opened'
) opened
cross join lateral (
    select bool_or(c.arrived >= $2::text::xid8 and c.arrived_at > $3::timestamptz - interval '1 hour') as is_later
    from vctl.access_change c where c.access_id = a.id and c.what = 'ended'
) ended
where a.id > $1 and ($4::timestamptz is null or a.opened_at >= $4)
order by a.id
limit $5
