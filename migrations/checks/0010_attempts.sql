-- Raises when something of 0010_attempts is missing. Changes nothing.
do $$
begin
    if not exists (
        select from pg_indexes
        where schemaname = 'vctl' and tablename = 'access_log'
          and indexdef like 'CREATE UNIQUE INDEX % (vault_user, attempt_id) WHERE (attempt_id IS NOT NULL)'
    ) then
        raise exception '0010_attempts: an access may have two rows';
    end if;
    if not exists (
        select from pg_proc where oid = to_regprocedure('vctl.open_access_v1(text,jsonb)')
        and prosrc like '%on conflict (vault_user, attempt_id)%'
    ) then
        raise exception '0010_attempts: open_access_v1 does not know attempts';
    end if;
    if not has_table_privilege('vctl_audit_writer', 'vctl.servers', 'select')
        or not has_table_privilege('vctl_audit_writer', 'vctl.server_status', 'select') then
        raise exception '0010_attempts: vctl_audit_writer cannot look up hosts';
    end if;
end
$$;
