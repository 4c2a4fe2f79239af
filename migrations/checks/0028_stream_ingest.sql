-- Raises when something of 0028_stream_ingest is missing. Changes nothing.
do $$
declare
    called constant text[] := array['vctl.stream_ingest_v1', 'vctl.stream_cursor_v1'];
    wrong text;
begin
    select string_agg(f, ', ') into wrong
    from unnest(called) f
    where not exists (select from pg_proc p
                      where p.oid::regproc::text = f and p.prosecdef and p.proconfig is not null
                        and has_function_privilege('vctl_stream_ingest', p.oid, 'execute'));
    if wrong is not null or not has_schema_privilege('vctl_stream_ingest', 'vctl', 'usage') then
        raise exception '0028_stream_ingest: vctl_stream_ingest cannot store batches: %', wrong;
    end if;
    select string_agg(format('%s by %s', p.proname, r.rolname), ', ') into wrong
    from pg_proc p, pg_roles r
    where p.pronamespace = 'vctl'::regnamespace
      and p.proname in ('store_batch', 'stream_host', 'stream_ingest_v1', 'stream_cursor_v1')
      and r.rolname in ('vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                        'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_session_end', 'vctl_revoke',
                        'vctl_stream_ingest')
      and has_function_privilege(r.rolname, p.oid, 'execute')
      and not (r.rolname = 'vctl_stream_ingest' and p.proname in ('stream_ingest_v1', 'stream_cursor_v1'));
    if wrong is not null then
        raise exception '0028_stream_ingest: a batch can be stored under any name: %', wrong;
    end if;
    select string_agg(t.relname, ', ') into wrong
    from pg_class t
    where t.relnamespace = 'vctl'::regnamespace and t.relkind in ('r', 'p', 'v')
      and has_table_privilege('vctl_stream_ingest', t.oid, 'select, insert, update, delete, truncate');
    if wrong is not null then
        raise exception '0028_stream_ingest: vctl_stream_ingest has rights on tables: %', wrong;
    end if;
    if not exists (select from pg_proc
                   where pronamespace = 'vctl'::regnamespace and proname = 'ingest_v1'
                     and prosrc like '%store_batch(vctl.login_host(), inet_client_addr()%') then
        raise exception '0028_stream_ingest: ingest_v1 does not store under the host of its login';
    end if;
end
$$;
