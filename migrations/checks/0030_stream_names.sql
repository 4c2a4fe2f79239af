-- Raises when something of 0030_stream_names is missing. Changes nothing.
do $$
begin
    if not exists (select from pg_proc p
                   where p.oid::regproc::text = 'vctl.stream_names_v1' and p.prosrc like '%ingest_cursor%') then
        raise exception '0030_stream_names: messages under a former name hold up those under the present one';
    end if;
    if not exists (select from pg_proc p
                   where p.oid::regproc::text = 'vctl.store_batch' and p.prosrc like '%order by at desc limit 1%') then
        raise exception '0030_stream_names: the time of a cursor is computed for each event';
    end if;
end
$$;
