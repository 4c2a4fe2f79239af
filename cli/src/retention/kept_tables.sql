-- Runs as vctl-audit-ro. $1 retention period of sessions in days. The tables other than the events. Each row also has
-- the number of sessions that were opened before that period and never closed.
select c.relname::text as name,
       pg_total_relation_size(c.oid) as bytes,
       coalesce(s.n_live_tup, 0) as live,
       coalesce(s.n_dead_tup, 0) as dead,
       case c.relname
           when 'audit_session' then (select to_char(min(opened_at) at time zone 'UTC', 'YYYY-MM-DD') from vctl.audit_session)
           when 'access_log' then (select to_char(min(opened_at) at time zone 'UTC', 'YYYY-MM-DD') from vctl.access_log)
       end as oldest,
       (select count(*) from vctl.audit_session
        where closed_at is null and opened_at < now() - make_interval(days => $1)) as never_closed
from pg_class c left join pg_stat_all_tables s on s.relid = c.oid
where c.relnamespace = 'vctl'::regnamespace and c.relname in ('audit_session', 'audit_gap', 'access_log', 'access_hop')
order by c.relname
