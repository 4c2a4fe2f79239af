-- Raises when something of 0020_last_probed is missing. Changes nothing.
do $$
begin
    if not has_column_privilege('vctl_ro', 'vctl.servers', 'last_probed_at', 'select')
        or not has_column_privilege('vctl_rw', 'vctl.servers', 'last_probed_at', 'update') then
        raise exception '0020_last_probed: the time of the last probe cannot be read or written';
    end if;
    if not exists (
        select from pg_constraint
        where conrelid = 'vctl.servers'::regclass and conname = 'servers_last_probed_at'
    ) then
        raise exception '0020_last_probed: a host may have a probe that no reader can show';
    end if;
end
$$;
