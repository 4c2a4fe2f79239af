-- Raises when something of 0006_retention is missing. Changes nothing.
do $$
declare
    missing text;
begin
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.prune_v1(integer,integer,integer,boolean)', 'vctl.prepare_days_v1(integer)']) wanted
    where to_regprocedure(wanted) is null;
    if missing is not null then
        raise exception '0006_retention: no function %', missing;
    end if;
    select string_agg(p.oid::regprocedure::text, ', ') into missing
    from pg_proc p
    where p.oid in ('vctl.prune_v1(integer,integer,integer,boolean)'::regprocedure,
                    'vctl.prepare_days_v1(integer)'::regprocedure)
      and (not p.prosecdef
           or not exists (select from unnest(p.proconfig) c where c like 'search_path=%')
           or has_function_privilege('public', p.oid, 'execute')
           or not has_function_privilege('vctl_pruner', p.oid, 'execute'));
    if missing is not null then
        raise exception '0006_retention: not `security definer` for vctl_pruner alone: %', missing;
    end if;

    -- It takes away whole days through the function, and no row of its choice.
    select string_agg(c.relname, ', ') into missing
    from pg_class c
    where c.relnamespace = 'vctl'::regnamespace and c.relkind in ('r', 'p')
      and has_table_privilege('vctl_pruner', c.oid, 'insert, update, delete, truncate');
    if missing is not null then
        raise exception '0006_retention: the pruner may change %', missing;
    end if;
end
$$;
