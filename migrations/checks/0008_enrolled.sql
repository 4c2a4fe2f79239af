-- Raises when something of 0008_enrolled is missing. Changes nothing.
do $$
begin
    if not exists (select from pg_attribute
                   where attrelid = 'vctl.servers'::regclass and attname = 'enrolled_at'
                     and atttypid = 'timestamptz'::regtype and not attisdropped) then
        raise exception '0008_enrolled: servers has no enrolled_at';
    end if;
    if not has_column_privilege('vctl_rw', 'vctl.servers', 'enrolled_at', 'update') then
        raise exception '0008_enrolled: vctl_rw may not write servers.enrolled_at';
    end if;
end
$$;
