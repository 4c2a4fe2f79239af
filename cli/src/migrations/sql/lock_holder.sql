-- Runs as the owner of the schema. $1 and $2: the two keys of the lock. Returns the holder, but only a login that may
-- migrate: every login can take the lock.
select a.usename::text
from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.objsubid = 2
  and l.classid = $1::bigint::oid and l.objid = $2::bigint::oid
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
  and pg_has_role(a.usesysid, current_user, 'member')
limit 1
