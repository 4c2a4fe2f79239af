-- Raises when something of 0018_unreadable_certificates is missing. Changes nothing.
do $$
begin
    if not exists (select from pg_proc
                   where pronamespace = 'vctl'::regnamespace and proname = 'doubtful_logins_v1'
                     and prosrc like '%unreadable_certificate%') then
        raise exception '0018_unreadable_certificates: the fleet view does not count unreadable certificates';
    end if;
    if not has_function_privilege('vctl_ro', 'vctl.doubtful_logins_v1()', 'execute')
        or has_function_privilege('public', 'vctl.doubtful_logins_v1()', 'execute') then
        raise exception '0018_unreadable_certificates: vctl_ro may not call doubtful_logins_v1, or public may';
    end if;
end
$$;
