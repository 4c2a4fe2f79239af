-- Raises when something of 0005_ingest is missing. Changes nothing.
do $$
declare
    missing text;
    caller  record;
    called  oid;
begin
    for caller in
        select * from (values ('ingest_v1', 'vctl_audit_ingest'), ('cursor_v1', 'vctl_audit_ingest'),
                              ('status_v1', 'vctl_status')) v (name, role)
    loop
        select p.oid into called from pg_proc p
        where p.pronamespace = 'vctl'::regnamespace and p.proname = caller.name;
        if called is null then
            raise exception '0005_ingest: no function vctl.%', caller.name;
        end if;
        if not exists (select from pg_proc p where p.oid = called and p.prosecdef
                       and exists (select from unnest(p.proconfig) c where c like 'search_path=%')) then
            raise exception '0005_ingest: vctl.% is not `security definer` with a search path', caller.name;
        end if;
        if has_function_privilege('public', called, 'execute')
           or not has_function_privilege(caller.role, called, 'execute') then
            raise exception '0005_ingest: vctl.% is not for % alone', caller.name, caller.role;
        end if;
    end loop;

    -- A host that may touch a table may touch those of other hosts.
    select string_agg(format('%s on %s', r, c.relname), ', ') into missing
    from pg_class c, unnest(array['vctl_audit_ingest', 'vctl_status']) r
    where c.relnamespace = 'vctl'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
      and has_table_privilege(r, c.oid, 'select, insert, update, delete, truncate');
    if missing is not null then
        raise exception '0005_ingest: hosts have rights of their own: %', missing;
    end if;
end
$$;
