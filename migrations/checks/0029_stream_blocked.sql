-- Raises when something of 0029_stream_blocked is missing. Changes nothing.
do $$
declare
    called constant text[] := array['vctl.stream_cursor_v1', 'vctl.stream_names_v1'];
    wrong text;
begin
    select string_agg(f, ', ') into wrong
    from unnest(called) f
    where not exists (select from pg_proc p
                      where p.oid::regproc::text = f and p.prosecdef and p.proconfig is not null
                        and has_function_privilege('vctl_stream_ingest', p.oid, 'execute'));
    if wrong is not null then
        raise exception '0029_stream_blocked: vctl_stream_ingest cannot find the place of a batch: %', wrong;
    end if;
    select string_agg(format('%s by %s', p.proname, r.rolname), ', ') into wrong
    from pg_proc p, pg_roles r
    where p.pronamespace = 'vctl'::regnamespace
      and p.proname in ('stream_host', 'stream_cursor_v1', 'stream_names_v1')
      and r.rolname in ('vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                        'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_session_end', 'vctl_revoke',
                        'vctl_stream_ingest')
      and has_function_privilege(r.rolname, p.oid, 'execute')
      and not (r.rolname = 'vctl_stream_ingest' and p.proname in ('stream_cursor_v1', 'stream_names_v1'));
    if wrong is not null then
        raise exception '0029_stream_blocked: the names of a host can be asked for: %', wrong;
    end if;
    if exists (select from pg_proc p
               where p.pronamespace = 'vctl'::regnamespace
                 and (p.proname = 'stream_host' and p.prosrc not like '%p_spool%'
                      or p.proname = 'stream_ingest_v1' and p.prosrc not like '%stream_host(p_host, p_spool)%'))
        or (select count(*) from pg_proc p
            where p.pronamespace = 'vctl'::regnamespace and p.proname = 'stream_host') <> 1 then
        raise exception '0029_stream_blocked: a former name is accepted for every spool';
    end if;
    if not exists (select from pg_proc p
                   where p.oid::regproc::text = 'vctl.store_batch'
                     and p.prosrc like '%is_seen_before%' and p.prosrc like '%stored_until%') then
        raise exception '0029_stream_blocked: a batch that arrives on another day doubles its rows';
    end if;
    if (select count(*) from pg_attribute
        where attrelid = 'vctl.ingest_cursor'::regclass and attname in ('boot_id', 'stored_until')
          and not attisdropped) <> 2 then
        raise exception '0029_stream_blocked: a cursor does not say until when it has events';
    end if;
end
$$;
