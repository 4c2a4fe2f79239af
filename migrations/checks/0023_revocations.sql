-- Raises when something of 0023_revocations is missing. Changes nothing.
do $$
declare
    functions constant text[] := array['vctl.sessions_of_v1(text[])', 'vctl.certificates_of_v1(text[])',
        'vctl.revoked_names_v1()', 'vctl.begin_revocation_v1(text,text[],text,text)',
        'vctl.finish_revocation_v1(bigint,jsonb)'];
    wrong text;
begin
    if to_regclass('vctl.revocation') is null then
        raise exception '0023_revocations: no table of revocations';
    end if;
    select string_agg(f, ', ') into wrong
    from unnest(functions) f
    where not coalesce((select prosecdef from pg_proc where oid = to_regprocedure(f)), false);
    if wrong is not null then
        raise exception '0023_revocations: missing, or not `security definer`: %', wrong;
    end if;
    select string_agg(format('%s: %s', grantee, f), ', ') into wrong
    from unnest(functions) f,
         unnest(array['public', 'vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                      'vctl_audit_ingest', 'vctl_status', 'vctl_pruner']) grantee
    where has_function_privilege(grantee, f, 'execute');
    if wrong is not null then
        raise exception '0023_revocations: may revoke or see certificates: %', wrong;
    end if;
    select string_agg(r, ', ') into wrong
    from unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                      'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_session_end', 'vctl_vault']) r
    where has_table_privilege(r, 'vctl.revocation', 'insert, update, delete, truncate');
    if wrong is not null then
        raise exception '0023_revocations: may change the record: %', wrong;
    end if;
    if not has_table_privilege('vctl_audit_ro', 'vctl.revocation', 'select') then
        raise exception '0023_revocations: auditors may not read the record';
    end if;
end
$$;
