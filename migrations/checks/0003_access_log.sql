-- Raises when something of 0003_access_log is missing. Changes nothing.
do $$
declare
    missing text;
begin
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.access_log', 'vctl.access_hop']) wanted
    where to_regclass(wanted) is null;
    if missing is not null then
        raise exception '0003_access_log: no table %', missing;
    end if;
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.open_access_v1(text,jsonb)', 'vctl.close_access_v1(text,bigint,jsonb)']) wanted
    where to_regprocedure(wanted) is null;
    if missing is not null then
        raise exception '0003_access_log: no function %', missing;
    end if;
    select string_agg(p.oid::regprocedure::text, ', ') into missing
    from pg_proc p
    where p.oid in ('vctl.open_access_v1(text,jsonb)'::regprocedure,
                    'vctl.close_access_v1(text,bigint,jsonb)'::regprocedure)
      and not (p.prosecdef and exists (select from unnest(p.proconfig) c where c like 'search_path=%'));
    if missing is not null then
        raise exception '0003_access_log: not `security definer` with a search path: %', missing;
    end if;

    select string_agg(f, ', ') into missing
    from unnest(array['vctl.open_access_v1(text,jsonb)', 'vctl.close_access_v1(text,bigint,jsonb)']) f
    where has_function_privilege('public', f, 'execute')
       or not has_function_privilege('vctl_audit_writer', f, 'execute');
    if missing is not null then
        raise exception '0003_access_log: not for vctl_audit_writer alone: %', missing;
    end if;
    select string_agg(format('%s %s', r, w), ', ') into missing
    from unnest(array['insert', 'update', 'delete']) w, unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity',
         'vctl_audit_ro', 'vctl_audit_writer', 'vctl_audit_ingest', 'vctl_status', 'vctl_pruner']) r,
         unnest(array['vctl.access_log', 'vctl.access_hop']) t
    where has_table_privilege(r, t, w);
    if missing is not null then
        raise exception '0003_access_log: may forge accesses: %', missing;
    end if;
    if has_table_privilege('vctl_audit_writer', 'vctl.access_log', 'select') then
        raise exception '0003_access_log: vctl_audit_writer can read accesses';
    end if;
    if not (has_table_privilege('vctl_audit_ro', 'vctl.access_log', 'select')
            and has_table_privilege('vctl_audit_ro', 'vctl.access_hop', 'select')) then
        raise exception '0003_access_log: auditors cannot read accesses';
    end if;

    select string_agg(wanted, ', ') into missing
    from unnest(array['(opened_at DESC)', '(cert_serial, ca_fingerprint)', '(hostname, opened_at DESC)',
                      '(vault_user, opened_at DESC)', '(source_ip, opened_at DESC)']) wanted
    where not exists (
        select from pg_indexes
        where schemaname = 'vctl' and tablename = 'access_log' and indexdef like '%' || wanted
    );
    if missing is not null then
        raise exception '0003_access_log: no index on access_log %', missing;
    end if;
end
$$;
