-- Runs as vctl-audit-ro, every second. Changes of the access log that arrived.
-- $1 a transaction: changes stored by it or by a later one have arrived; $2 time when the export began; $3 exported
-- changes; $4 maximum number of rows.
select id, access_id, what = 'opened', arrived::text
from vctl.access_change
-- Both bounds are for a database restored from a dump, as in followed.sql.
where arrived >= $1::text::xid8 and arrived < pg_snapshot_xmax(pg_current_snapshot())
  and arrived_at > $2::timestamptz - interval '1 hour' and id <> all ($3::bigint[])
order by id
limit $4
