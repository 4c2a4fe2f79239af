-- Raises when something of 0016_login_work is missing. Changes nothing.
do $$
declare
    exec bytea := decode(repeat('00', 160), 'hex');
begin
    if not vctl.is_users_exec(1::smallint, exec) or vctl.is_users_exec(1::smallint, set_byte(exec, 141, 1))
        or vctl.is_users_exec(1::smallint, set_byte(exec, 141, 2)) or vctl.is_users_exec(2::smallint, exec)
        or not vctl.is_users_exec(1::smallint, set_byte(exec, 141, 3))
        or not vctl.is_users_exec(1::smallint, '\x00') then
        raise exception '0016_login_work: commands are not told from what sshd and PAM ran';
    end if;
    if not exists (select from pg_proc
                   where pronamespace = 'vctl'::regnamespace and proname = 'store_batch'
                     and prosrc like '%is_users_exec(kind, head)%') then
        raise exception '0016_login_work: store_batch counts what sshd and PAM ran as commands';
    end if;
end
$$;
