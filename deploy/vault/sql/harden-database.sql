-- setup.sh runs this as a superuser in the database of vctl. It revokes from PUBLIC each function by which a login
-- without a right on any table can write to the disk, take locks or use up shared resources. Postgres defines
-- these functions, and each new major version defines them again: run setup.sh after an upgrade.
do $$
declare
    function regprocedure;
begin
    for function in
        select p.oid from pg_catalog.pg_proc p
        where has_function_privilege('public', p.oid, 'execute')
          and (p.proname ~ '^(pg_(try_)?advisory_|lo_|lo(read|write)$|pg_logical_emit_message$|dblink)'
               or p.proname in ('pg_notify', 'pg_export_snapshot', 'pg_current_xact_id', 'txid_current',
                                'pg_create_logical_replication_slot', 'pg_create_physical_replication_slot',
                                'pg_copy_logical_replication_slot', 'pg_copy_physical_replication_slot',
                                'pg_logical_slot_get_changes', 'pg_logical_slot_get_binary_changes',
                                'pg_logical_slot_peek_changes', 'pg_logical_slot_peek_binary_changes',
                                'pg_replication_slot_advance', 'pg_drop_replication_slot',
                                'pg_sync_replication_slots', 'pg_import_system_collations',
                                'pg_extension_config_dump'))
    loop
        execute format('revoke execute on function %s from public', function);
    end loop;
    -- `vctl migrate` takes this lock, also in older versions.
    for function in
        select p.oid from pg_catalog.pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^pg_(try_)?advisory_'
    loop
        execute format('grant execute on function %s to vctl_owner', function);
    end loop;
end
$$;
