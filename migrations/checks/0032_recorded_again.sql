-- Raises when something of 0032_recorded_again is missing. Changes nothing.
do $$
begin
    if not exists (select from pg_proc p
                   where p.oid::regproc::text = 'vctl.store_batch' and p.prosrc like '%began_after(excluded.opened%') then
        raise exception '0032_recorded_again: a session that is recorded after all stays ended';
    end if;
    if vctl.began_after('{"marked_at": 8}', '{"at": 7, "reason": "last_process_ended"}')
        or not vctl.began_after('{"marked_at": 8}', '{"at": 7, "reason": "never_recorded"}')
        or vctl.began_after('{"marked_at": 6}', '{"at": 7, "reason": "never_recorded"}') then
        raise exception '0032_recorded_again: the end of a session is compared with another clock';
    end if;
end
$$;
