-- Raises when something of 0014_floor is missing. Changes nothing.
do $$
declare
    missing text;
begin
    if not exists (select from vctl.retention_floor) then
        raise exception '0014_floor: there are no least periods';
    end if;
    -- Only the owner may write them: otherwise the floor can be removed and every login can take the lock.
    select string_agg(c.relname, ', ') into missing
    from pg_class c, unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
        'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_vault']) login
    where c.oid in ('vctl.retention_floor'::regclass, 'vctl.event_day_turn'::regclass)
      and has_table_privilege(login, c.oid, 'select, insert, update, delete, truncate');
    if missing is not null then
        raise exception '0014_floor: not the owner alone has a right on %', missing;
    end if;
    if exists (select from pg_proc where pronamespace = 'vctl'::regnamespace and prosrc like '%pg_advisory%') then
        raise exception '0014_floor: a function takes a lock that every login can take';
    end if;
    if not exists (select from pg_proc where oid = 'vctl.check_retention(integer,integer,integer)'::regprocedure
                   and prosrc like '%retention_floor%') then
        raise exception '0014_floor: a prune may take away everything';
    end if;
    if not exists (select from pg_proc where oid = 'vctl.old_sessions(integer,integer,bigint)'::regprocedure
                   and prosrc like '%updated_at <%')
       or not exists (select from pg_attribute
                      where attrelid = 'vctl.audit_gap'::regclass and attname = 'stored_at') then
        raise exception '0014_floor: a host says how long its own record is kept';
    end if;
end
$$;
