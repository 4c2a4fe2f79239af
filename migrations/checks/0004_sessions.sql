-- Raises when something of 0004_sessions is missing. Changes nothing.
do $$
declare
    missing text;
begin
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.audit_session', 'vctl.audit_gap', 'vctl.kernel_event', 'vctl.ingest_cursor',
                      'vctl.ingest_machine']) wanted
    where to_regclass(wanted) is null;
    if missing is not null then
        raise exception '0004_sessions: no table %', missing;
    end if;
    if not exists (select from pg_partitioned_table where partrelid = 'vctl.kernel_event'::regclass) then
        raise exception '0004_sessions: kernel_event is not partitioned';
    end if;
    if to_regprocedure('vctl.ensure_event_day(date)') is null then
        raise exception '0004_sessions: no function vctl.ensure_event_day(date)';
    end if;
    if has_function_privilege('public', 'vctl.ensure_event_day(date)', 'execute') then
        raise exception '0004_sessions: public may create partitions';
    end if;
    if not exists (select from pg_inherits where inhparent = 'vctl.kernel_event'::regclass) then
        raise exception '0004_sessions: kernel_event has no partition';
    end if;
    -- Without it a batch that comes twice is stored twice.
    if not exists (
        select from pg_indexes
        where schemaname = 'vctl' and tablename = 'kernel_event'
          and indexdef like 'CREATE UNIQUE INDEX%(session_id, seq, day)'
    ) then
        raise exception '0004_sessions: no unique index on kernel_event (session_id, seq, day)';
    end if;

    select string_agg(t, ', ') into missing
    from unnest(array['vctl.audit_host', 'vctl.audit_session', 'vctl.audit_gap', 'vctl.kernel_event',
                      'vctl.ingest_cursor', 'vctl.ingest_machine']) t
    where not has_table_privilege('vctl_audit_ro', t, 'select');
    if missing is not null then
        raise exception '0004_sessions: auditors cannot read %', missing;
    end if;
    select string_agg(format('%s: %s', r, t), ', ') into missing
    from unnest(array['vctl.audit_session', 'vctl.audit_gap', 'vctl.kernel_event', 'vctl.ingest_cursor',
                      'vctl.ingest_machine']) t,
         unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                      'vctl_audit_ingest', 'vctl_status', 'vctl_pruner']) r
    where has_table_privilege(r, t, 'insert') or has_table_privilege(r, t, 'update')
       or has_table_privilege(r, t, 'delete');
    if missing is not null then
        raise exception '0004_sessions: may write what only a function may: %', missing;
    end if;
end
$$;
