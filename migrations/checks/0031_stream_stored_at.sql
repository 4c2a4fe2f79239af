-- Raises when something of 0031_stream_stored_at is missing. Changes nothing.
do $$
declare
    wrong text;
begin
    if not exists (select from pg_proc p
                   where p.oid::regproc::text = 'vctl.stream_stored_at_v1' and p.prosecdef and p.proconfig is not null
                     and has_function_privilege('vctl_stream_ingest', p.oid, 'execute')) then
        raise exception '0031_stream_stored_at: vctl_stream_ingest cannot find the beginning of a loss';
    end if;
    select string_agg(r.rolname, ', ') into wrong
    from pg_proc p, pg_roles r
    where p.oid::regproc::text = 'vctl.stream_stored_at_v1'
      and r.rolname in ('vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                        'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_session_end', 'vctl_revoke')
      and has_function_privilege(r.rolname, p.oid, 'execute');
    if wrong is not null then
        raise exception '0031_stream_stored_at: the last event of a host can be asked for by %', wrong;
    end if;
end
$$;
