-- Runs as vctl_owner. Logins whose transactions hold a lock on a table of the schema.
select distinct a.usename::text
from pg_catalog.pg_locks l
join pg_catalog.pg_class c on c.oid = l.relation
join pg_catalog.pg_stat_activity a using (pid)
where c.relnamespace = 'vctl'::regnamespace and l.granted and l.pid <> pg_backend_pid() and a.usename is not null
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
order by 1
limit 5
