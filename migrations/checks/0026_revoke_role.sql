-- Raises when something of 0026_revoke_role is missing. Changes nothing.
do $$
declare
    functions constant text[] := array['vctl.sessions_of_v1(text[])', 'vctl.certificates_of_v1(text[])',
        'vctl.revoked_names_v1()', 'vctl.begin_revocation_v1(text,text[],text,text)',
        'vctl.finish_revocation_v1(bigint,jsonb)'];
    wrong text;
begin
    select string_agg(f, ', ') into wrong
    from unnest(functions) f
    where not has_function_privilege('vctl_revoke', f, 'execute');
    if wrong is not null then
        raise exception '0026_revoke_role: vctl_revoke cannot revoke: %', wrong;
    end if;
    select string_agg(f, ', ') into wrong
    from unnest(array['vctl.compat_v1()', 'vctl.request_session_end_v1(text,uuid,text)',
                      'vctl.session_end_state_v1(bigint)']) f
    where not has_function_privilege('vctl_revoke', f, 'execute');
    if wrong is not null or not has_schema_privilege('vctl_revoke', 'vctl', 'usage') then
        raise exception '0026_revoke_role: vctl_revoke cannot end sessions: %', wrong;
    end if;
    select string_agg(f, ', ') into wrong
    from unnest(functions) f
    where has_function_privilege('vctl_session_end', f, 'execute');
    if wrong is not null then
        raise exception '0026_revoke_role: the right to end sessions can revoke: %', wrong;
    end if;
    select string_agg(f, ', ') into wrong
    from unnest(array['vctl.session_to_end_v1(uuid,uuid)', 'vctl.session_ends_v1(uuid)',
                      'vctl.answer_session_end_v1(bigint,jsonb)',
                      'vctl.host_rename_v1(text,text,text,boolean)']) f
    where has_function_privilege('vctl_revoke', f, 'execute');
    if wrong is not null then
        raise exception '0026_revoke_role: vctl_revoke can more than revoke: %', wrong;
    end if;
    select string_agg(t, ', ') into wrong
    from unnest(array['vctl.revocation', 'vctl.session_end_request', 'vctl.host_former_name',
                      'vctl.access_change']) t
    where has_table_privilege('vctl_revoke', t, 'select, insert, update, delete, truncate');
    if wrong is not null then
        raise exception '0026_revoke_role: vctl_revoke has rights on tables: %', wrong;
    end if;
    if position('max(r.requested_at) desc' in pg_get_functiondef('vctl.revoked_names_v1()'::regprocedure)) = 0 then
        raise exception '0026_revoke_role: revoked_names_v1 does not return the newest names first';
    end if;
end
$$;
