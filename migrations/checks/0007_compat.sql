-- Raises when something of 0007_compat is missing. Changes nothing.
do $$
declare
    missing text;
begin
    if to_regclass('vctl.schema_compat') is null then
        raise exception '0007_compat: no table vctl.schema_compat';
    end if;
    if to_regprocedure('vctl.compat_v1()') is null then
        raise exception '0007_compat: no function vctl.compat_v1()';
    end if;
    if (select count(*) from vctl.schema_compat) <> 1 then
        raise exception '0007_compat: schema_compat has not its one row';
    end if;
    if has_function_privilege('public', 'vctl.compat_v1()', 'execute') then
        raise exception '0007_compat: public may call compat_v1';
    end if;
    select string_agg(r, ', ') into missing
    from unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                      'vctl_audit_ingest', 'vctl_status', 'vctl_pruner']) r
    where not has_function_privilege(r, 'vctl.compat_v1()', 'execute');
    if missing is not null then
        raise exception '0007_compat: may not call compat_v1: %', missing;
    end if;
end
$$;
