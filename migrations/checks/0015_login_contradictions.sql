-- Raises when something of 0015_login_contradictions is missing. Changes nothing.
do $$
begin
    if not has_function_privilege('vctl_audit_ro', 'vctl.login_contradictions(uuid)', 'execute') then
        raise exception '0015_login_contradictions: auditors cannot compare logins with access rows';
    end if;
    if not has_function_privilege('vctl_ro', 'vctl.doubtful_logins_v1()', 'execute') then
        raise exception '0015_login_contradictions: the fleet view cannot count doubtful logins';
    end if;
    if has_function_privilege('vctl_ro', 'vctl.login_contradictions(uuid)', 'execute')
        or has_function_privilege('public', 'vctl.doubtful_logins_v1()', 'execute') then
        raise exception '0015_login_contradictions: a login may execute more than its purpose needs';
    end if;
    if exists (select from vctl.login_contradictions('00000000-0000-0000-0000-000000000000')) then
        raise exception '0015_login_contradictions: a session that is not there has contradictions';
    end if;
end
$$;
