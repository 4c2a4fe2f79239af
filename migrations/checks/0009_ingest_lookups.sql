-- Raises when something of 0009_ingest_lookups is missing. Changes nothing.
do $$
declare
    settings text[];
begin
    select proconfig into settings from pg_proc where pronamespace = 'vctl'::regnamespace and proname = 'store_batch';
    if not settings @> array['enable_seqscan=off', 'enable_hashjoin=off', 'enable_mergejoin=off'] then
        raise exception '0009_ingest_lookups: store_batch may read whole tables';
    end if;
    if not exists (select from pg_class where oid = 'vctl.audit_session'::regclass
                   and reloptions @> array['fillfactor=70']) then
        raise exception '0009_ingest_lookups: audit_session leaves no room in its pages';
    end if;
end
$$;
