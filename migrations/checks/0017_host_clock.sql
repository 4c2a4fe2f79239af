-- Raises when something of 0017_host_clock is missing. Changes nothing.
do $$
begin
    if not exists (select from pg_attribute
                   where attrelid = 'vctl.server_status'::regclass and attname = 'clock_offset_s' and not attisdropped) then
        raise exception '0017_host_clock: heartbeats have no clock';
    end if;
    if not exists (select from pg_proc
                   where pronamespace = 'vctl'::regnamespace and proname = 'status_v1' and prosrc like '%clock_offset_s%') then
        raise exception '0017_host_clock: `status_v1` does not keep the clock of a heartbeat';
    end if;
    if not has_column_privilege('vctl_ro', 'vctl.server_status', 'clock_offset_s', 'select') then
        raise exception '0017_host_clock: the fleet view cannot read clocks';
    end if;
end
$$;
