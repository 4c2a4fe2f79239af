-- Raises when something of 0024_host_rename is missing. Changes nothing.
do $$
declare
    wrong text;
begin
    if to_regclass('vctl.host_former_name') is null then
        raise exception '0024_host_rename: no table of former names';
    end if;
    select string_agg(f, ', ') into wrong
    from unnest(array['vctl.host_rename_v1(text,text,text,boolean)', 'vctl.refuse_former_name()', 'vctl.login_host()']) f
    where not coalesce((select prosecdef and proconfig is not null from pg_proc where oid = to_regprocedure(f)), false);
    if wrong is not null then
        raise exception '0024_host_rename: not `security definer` with a search path: %', wrong;
    end if;
    select string_agg(c::text, ', ') into wrong
    from unnest(array['vctl.audit_host', 'vctl.servers']::regclass[]) c
    where not exists (select from pg_trigger where tgrelid = c and tgname = 'refuse_former_name' and tgenabled = 'O');
    if wrong is not null then
        raise exception '0024_host_rename: accepts a former name of another host: %', wrong;
    end if;
    if not exists (
        select from pg_trigger
        where tgrelid = 'vctl.host_former_name'::regclass and tgname = 'append_only' and tgenabled = 'O'
    ) then
        raise exception '0024_host_rename: former names can be changed';
    end if;
    select string_agg(r, ', ') into wrong
    from unnest(array['vctl_owner', 'vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
                      'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_session_end', 'vctl_vault']) r
    where has_table_privilege(r, 'vctl.host_former_name', 'update, delete, truncate')
       or r <> 'vctl_owner' and has_table_privilege(r, 'vctl.host_former_name', 'insert');
    if wrong is not null then
        raise exception '0024_host_rename: may write former names: %', wrong;
    end if;
    select string_agg(r, ', ') into wrong
    from unnest(array['public', 'vctl_ro', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer', 'vctl_audit_ingest',
                      'vctl_status', 'vctl_pruner', 'vctl_session_end', 'vctl_vault']) r
    where has_function_privilege(r, 'vctl.host_rename_v1(text,text,text,boolean)', 'execute');
    if wrong is not null then
        raise exception '0024_host_rename: may rename hosts: %', wrong;
    end if;
    if not has_function_privilege('vctl_rw', 'vctl.host_rename_v1(text,text,text,boolean)', 'execute')
        or not has_table_privilege('vctl_audit_ro', 'vctl.host_former_name', 'select')
        or not has_table_privilege('vctl_ro', 'vctl.host_former_name', 'select') then
        raise exception '0024_host_rename: renaming for vctl_rw, or reading former names, is missing';
    end if;
    if pg_get_functiondef('vctl.login_contradictions(uuid)'::regprocedure) not like '%host_former_name%' then
        raise exception '0024_host_rename: login_contradictions compares only the present name of a host';
    end if;
end
$$;
