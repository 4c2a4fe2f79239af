-- Raises when something of 0001_inventory is missing. Changes nothing.
do $$
declare
    missing text;
begin
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.servers', 'vctl.server_status', 'vctl.seen_users', 'vctl.rbac_groups',
                      'vctl.rbac_members', 'vctl.rbac_grants', 'vctl.ca_keys']) wanted
    where to_regclass(wanted) is null;
    if missing is not null then
        raise exception '0001_inventory: no table %', missing;
    end if;

    -- What the domains refuse is what keeps a name out of a shell and a serial out of the signed range.
    select string_agg(t, ', ') into missing
    from unnest(array['vctl.cert_serial', 'vctl.host_name']) t
    where not exists (select from pg_constraint where contypid = to_regtype(t) and contype = 'c');
    if missing is not null then
        raise exception '0001_inventory: no domain with its check %', missing;
    end if;

    select string_agg(wanted, ', ') into missing
    from unnest(array['servers_jump_via_fkey', 'server_status_hostname_fkey', 'rbac_members_group_name_fkey',
                      'rbac_grants_group_name_fkey']) wanted
    where not exists (
        select from pg_constraint where conname = wanted and connamespace = 'vctl'::regnamespace and contype = 'f'
    );
    if missing is not null then
        raise exception '0001_inventory: no foreign key %', missing;
    end if;

    select string_agg(format('%s on %s to %s', p.privilege, p.tab, p.role), ', ') into missing
    from (
        select 'select', t, r from unnest(array['servers', 'server_status', 'seen_users', 'rbac_groups',
            'rbac_members', 'rbac_grants', 'ca_keys']) t, unnest(array['vctl_ro', 'vctl_rw', 'vctl_audit_ro']) r
        union all
        select w, t, 'vctl_rw' from unnest(array['servers', 'ca_keys']) t,
            unnest(array['insert', 'update', 'delete']) w
    ) p (privilege, tab, role)
    where not has_table_privilege(p.role, 'vctl.' || p.tab, p.privilege);
    if missing is not null then
        raise exception '0001_inventory: no right to %', missing;
    end if;

    -- Status and logins are written through functions that identify the caller.
    select string_agg(format('%s: %s', r, t), ', ') into missing
    from unnest(array['vctl.server_status', 'vctl.seen_users']) t,
         unnest(array['vctl_ro', 'vctl_identity', 'vctl_audit_ingest', 'vctl_status']) r
    where has_table_privilege(r, t, 'insert') or has_table_privilege(r, t, 'update');
    if missing is not null then
        raise exception '0001_inventory: may write what only a function may: %', missing;
    end if;

    select string_agg(r, ', ') into missing
    from unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                      'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_vault']) r
    where not has_schema_privilege(r, 'vctl', 'usage');
    if missing is not null then
        raise exception '0001_inventory: no use of the schema by %', missing;
    end if;
end
$$;
