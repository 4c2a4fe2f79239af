-- Raises when something of 0022_session_requests is missing. Changes nothing.
do $$
declare
    wrong text;
begin
    if to_regclass('vctl.session_end_request') is null or to_regclass('vctl.session_end_poll') is null then
        raise exception '0022_session_requests: no table of requests, or of the hosts that ask';
    end if;
    select string_agg(f, ', ') into wrong
    from unnest(array['vctl.session_to_end_v1(uuid,uuid)', 'vctl.request_session_end_v1(text,uuid,text)',
                      'vctl.session_end_state_v1(bigint)']) f
    where not coalesce((select prosecdef from pg_proc where oid = to_regprocedure(f)), false)
       or not has_function_privilege('vctl_session_end', f, 'execute');
    if wrong is not null then
        raise exception '0022_session_requests: not `security definer` for vctl_session_end: %', wrong;
    end if;
    select string_agg(f, ', ') into wrong
    from unnest(array['vctl.session_ends_v1(uuid)', 'vctl.answer_session_end_v1(bigint,jsonb)']) f
    where not coalesce((select prosecdef from pg_proc where oid = to_regprocedure(f)), false)
       or not has_function_privilege('vctl_audit_ingest', f, 'execute');
    if wrong is not null then
        raise exception '0022_session_requests: not `security definer` for vctl_audit_ingest: %', wrong;
    end if;
    select string_agg(format('%s: %s', grantee, f), ', ') into wrong
    from unnest(array['vctl.session_to_end_v1(uuid,uuid)', 'vctl.request_session_end_v1(text,uuid,text)',
                      'vctl.session_end_state_v1(bigint)', 'vctl.session_ends_v1(uuid)',
                      'vctl.answer_session_end_v1(bigint,jsonb)']) f,
         unnest(array['public', 'vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                      'vctl_status', 'vctl_pruner']) grantee
    where has_function_privilege(grantee, f, 'execute');
    if wrong is not null then
        raise exception '0022_session_requests: may end sessions or answer for hosts: %', wrong;
    end if;
    select string_agg(r, ', ') into wrong
    from unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                      'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_session_end', 'vctl_vault']) r
    where has_table_privilege(r, 'vctl.session_end_request', 'insert, update, delete, truncate');
    if wrong is not null then
        raise exception '0022_session_requests: may change requests: %', wrong;
    end if;
    if not has_function_privilege('vctl_session_end', 'vctl.compat_v1()', 'execute')
        or not has_table_privilege('vctl_audit_ro', 'vctl.session_end_request', 'select') then
        raise exception '0022_session_requests: compat_v1 for vctl_session_end, or reading requests, is missing';
    end if;
end
$$;
