-- Raises when something of 0021_rbac is missing. Changes nothing.
do $$
declare
    missing text;
begin
    if to_regclass('vctl.rbac_change') is null then
        raise exception '0021_rbac: there is no record of changes';
    end if;
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.rbac_create_group_v1(text,text,text)', 'vctl.rbac_delete_group_v1(text,text)',
                      'vctl.rbac_members_v1(text,text,text[],boolean)',
                      'vctl.rbac_grants_v1(text,text,text[],text[],boolean)', 'vctl.caller_grants_v1()']) wanted
    where to_regprocedure(wanted) is null;
    if missing is not null then
        raise exception '0021_rbac: no function %', missing;
    end if;
    select string_agg(p.oid::regprocedure::text, ', ') into missing
    from pg_proc p
    where p.pronamespace = 'vctl'::regnamespace and p.proname ~ '^(rbac_.*|caller_grants)_v1$'
      and not (p.prosecdef and exists (select from unnest(p.proconfig) c where c like 'search_path=%'));
    if missing is not null then
        raise exception '0021_rbac: not `security definer` with a search path: %', missing;
    end if;

    if not exists (select from pg_constraint where conrelid = 'vctl.rbac_grants'::regclass and contype = 'p'
                   and pg_get_constraintdef(oid) like '%scope%') then
        raise exception '0021_rbac: a group cannot have a command with several scopes';
    end if;
    if not exists (select from pg_attribute where attrelid = 'vctl.rbac_members'::regclass
                   and attname = 'person_key' and attgenerated = 's') then
        raise exception '0021_rbac: the members cannot be found by their logins';
    end if;
    if not exists (select from vctl.rbac_groups where name = 'everyone') then
        raise exception '0021_rbac: there is no group `everyone`';
    end if;

    -- A grant that is written without a function has no record.
    select string_agg(format('%s on %s to %s', w, t, r), ', ') into missing
    from unnest(array['insert', 'update', 'delete', 'truncate']) w, unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity',
         'vctl_audit_ro', 'vctl_audit_writer', 'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_vault']) r,
         unnest(array['rbac_groups', 'rbac_members', 'rbac_grants', 'rbac_change']) t
    where has_table_privilege(r, 'vctl.' || t, w);
    if missing is not null then
        raise exception '0021_rbac: may change grants without a record: %', missing;
    end if;
    if not exists (select from pg_trigger where tgrelid = 'vctl.rbac_change'::regclass and tgname = 'append_only'
                   and tgenabled <> 'D' and tgtype & (4 | 8 | 16 | 32) = (8 | 16 | 32)) then
        raise exception '0021_rbac: a record of a change can be changed or deleted';
    end if;
    select string_agg(r, ', ') into missing
    from unnest(array['vctl_ro', 'vctl_rw', 'vctl_audit_ro']) r
    where not has_table_privilege(r, 'vctl.rbac_change', 'select');
    if missing is not null then
        raise exception '0021_rbac: cannot read the record of changes: %', missing;
    end if;

    select string_agg(p.oid::regprocedure::text, ', ') into missing
    from pg_proc p
    where p.pronamespace = 'vctl'::regnamespace and p.proname ~ '^rbac_.*_v1$'
      and (not has_function_privilege('vctl_rw', p.oid, 'execute')
           or has_function_privilege('public', p.oid, 'execute')
           or has_function_privilege('vctl_ro', p.oid, 'execute')
           or has_function_privilege('vctl_audit_writer', p.oid, 'execute'));
    if missing is not null then
        raise exception '0021_rbac: not for vctl_rw alone: %', missing;
    end if;
    select string_agg(r, ', ') into missing
    from unnest(array['vctl_ro', 'vctl_rw', 'vctl_audit_ro', 'vctl_audit_writer', 'vctl_pruner']) r
    where not has_function_privilege(r, 'vctl.caller_grants_v1()', 'execute');
    if missing is not null then
        raise exception '0021_rbac: cannot read its own grants: %', missing;
    end if;
end
$$;
