-- Raises when something of 0012_limits is missing. Changes nothing.
do $$
declare
    missing text;
begin
    select string_agg(wanted, ', ') into missing
    from unnest(array['access_log', 'access_hop', 'seen_users', 'servers', 'rbac_groups', 'rbac_members',
        'rbac_grants', 'ca_keys', 'host_trust', 'host_certificate', 'server_status']) wanted
    where not exists (select from pg_constraint
                      where connamespace = 'vctl'::regnamespace and contype = 'c' and conname = wanted || '_limits');
    if missing is not null then
        raise exception '0012_limits: rows have no limits in %', missing;
    end if;
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.cut(text,integer)', 'vctl.named(text,text,integer)',
        'vctl.plausible(text,timestamptz)', 'vctl.items(jsonb,text,integer)',
        'vctl.small(text,jsonb,integer)']) wanted
    where to_regprocedure(wanted) is null or has_function_privilege('public', to_regprocedure(wanted), 'execute');
    if missing is not null then
        raise exception '0012_limits: missing, or executable by public: %', missing;
    end if;
    select string_agg(p.proname, ', ') into missing
    from pg_proc p
    where p.pronamespace = 'vctl'::regnamespace and p.proname in ('open_access_v1', 'close_access_v1', 'status_v1')
      and p.prosrc not like '%vctl.small(%';
    if missing is not null then
        raise exception '0012_limits: takes arguments of any size: %', missing;
    end if;
end
$$;
