-- Raises when something of 0002_identity is missing. Changes nothing.
do $$
declare
    missing text;
begin
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.db_login', 'vctl.audit_host']) wanted
    where to_regclass(wanted) is null;
    if missing is not null then
        raise exception '0002_identity: no table %', missing;
    end if;
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.login_person(text)', 'vctl.person(text)', 'vctl.login_host()',
                      'vctl.seen_v1(text,text)']) wanted
    where to_regprocedure(wanted) is null;
    if missing is not null then
        raise exception '0002_identity: no function %', missing;
    end if;

    if vctl.person('oidc-albert') <> 'albert' or vctl.person('root') <> 'root' then
        raise exception '0002_identity: person() does not take the mount off a name';
    end if;
    select string_agg(p.oid::regprocedure::text, ', ') into missing
    from pg_proc p
    where p.oid in ('vctl.login_host()'::regprocedure, 'vctl.seen_v1(text,text)'::regprocedure)
      and not (p.prosecdef and exists (select from unnest(p.proconfig) c where c like 'search_path=%'));
    if missing is not null then
        raise exception '0002_identity: not `security definer` with a search path: %', missing;
    end if;
    select string_agg(f, ', ') into missing
    from unnest(array['vctl.login_person(text)', 'vctl.login_host()', 'vctl.seen_v1(text,text)']) f
    where has_function_privilege('public', f, 'execute');
    if missing is not null then
        raise exception '0002_identity: public may call %', missing;
    end if;
    if not has_function_privilege('vctl_identity', 'vctl.seen_v1(text,text)', 'execute') then
        raise exception '0002_identity: vctl_identity may not call seen_v1';
    end if;

    -- A role with write access could assign a login to another host.
    select string_agg(format('%s %s', r, w), ', ') into missing
    from unnest(array['insert', 'update', 'delete']) w, unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity',
         'vctl_audit_ro', 'vctl_audit_writer', 'vctl_audit_ingest', 'vctl_status', 'vctl_pruner']) r
    where has_table_privilege(r, 'vctl.db_login', w);
    if missing is not null then
        raise exception '0002_identity: may say which host a login is: %', missing;
    end if;
    if not (has_table_privilege('vctl_vault', 'vctl.db_login', 'insert')
            and has_table_privilege('vctl_vault', 'vctl.db_login', 'delete')) then
        raise exception '0002_identity: Vault may not write db_login';
    end if;
end
$$;
