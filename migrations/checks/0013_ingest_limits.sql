-- Raises when something of 0013_ingest_limits is missing. Changes nothing.
do $$
declare
    missing text;
begin
    select string_agg(wanted, ', ') into missing
    from unnest(array['audit_session', 'audit_gap', 'kernel_event']) wanted
    where not exists (select from pg_constraint
                      where conrelid = ('vctl.' || wanted)::regclass and contype = 'c'
                        and conname = wanted || '_limits');
    if missing is not null then
        raise exception '0013_ingest_limits: rows have no limits in %', missing;
    end if;
    if not exists (select from pg_proc
                   where pronamespace = 'vctl'::regnamespace and proname = 'store_batch'
                     and prosrc like '%least_seq < 1%') then
        raise exception '0013_ingest_limits: store_batch takes any number';
    end if;
end
$$;
