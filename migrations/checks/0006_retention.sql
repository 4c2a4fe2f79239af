-- Raises when something of 0006_retention is missing. Changes nothing.
do $$
declare
    missing text;
begin
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.prune_step()', 'vctl.check_retention(integer,integer,integer)', 'vctl.event_days()',
        'vctl.old_sessions(integer,integer,bigint)', 'vctl.old_gaps(integer,bigint)',
        'vctl.old_accesses(integer,bigint)', 'vctl.prune_plan_v1(integer,integer,integer)',
        'vctl.prune_v1(integer,integer,integer)', 'vctl.prepare_days_v1(integer)']) wanted
    where to_regprocedure(wanted) is null;
    if missing is not null then
        raise exception '0006_retention: no function %', missing;
    end if;
    select string_agg(p.oid::regprocedure::text, ', ') into missing
    from pg_proc p
    where p.oid in ('vctl.prune_plan_v1(integer,integer,integer)'::regprocedure,
                    'vctl.prune_v1(integer,integer,integer)'::regprocedure,
                    'vctl.prepare_days_v1(integer)'::regprocedure)
      and (not p.prosecdef
           or not exists (select from unnest(p.proconfig) c where c like 'search_path=%')
           or has_function_privilege('public', p.oid, 'execute')
           or not has_function_privilege('vctl_pruner', p.oid, 'execute'));
    if missing is not null then
        raise exception '0006_retention: not `security definer` for vctl_pruner alone: %', missing;
    end if;
    -- Auditors may read which records would be deleted, and may delete none.
    if not has_function_privilege('vctl_audit_ro', 'vctl.prune_plan_v1(integer,integer,integer)', 'execute')
       or not has_function_privilege('vctl_audit_ro', 'vctl.event_days()', 'execute')
       or has_function_privilege('vctl_audit_ro', 'vctl.prune_v1(integer,integer,integer)', 'execute') then
        raise exception '0006_retention: vctl_audit_ro may ask for the plan, and only for that';
    end if;

    -- It takes away what is too old through the function, and no row of its choice.
    select string_agg(c.relname, ', ') into missing
    from pg_class c
    where c.relnamespace = 'vctl'::regnamespace and c.relkind in ('r', 'p')
      and has_table_privilege('vctl_pruner', c.oid, 'insert, update, delete, truncate');
    if missing is not null then
        raise exception '0006_retention: the pruner may change %', missing;
    end if;
end
$$;
