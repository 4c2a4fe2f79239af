-- Raises when something of 0025_export_order is missing. Changes nothing.
do $$
declare
    missing text;
begin
    if (select count(*) from pg_attribute where attrelid = 'vctl.audit_gap'::regclass
        and attname in ('arrived', 'arrived_at')) <> 2
       or not exists (select from pg_trigger where tgrelid = 'vctl.audit_gap'::regclass
                      and tgname = 'note_arrival' and tgenabled = 'O') then
        raise exception '0025_export_order: gaps do not record when they arrive';
    end if;
    if (select count(*) from pg_trigger where tgrelid = 'vctl.access_log'::regclass
        and tgname in ('note_opened', 'note_ended') and tgenabled = 'O') <> 2 then
        raise exception '0025_export_order: accesses do not record when they change';
    end if;
    if (select count(*) from pg_index where indrelid in ('vctl.audit_gap'::regclass, 'vctl.access_change'::regclass)
        and pg_get_indexdef(indexrelid) like '%(arrived)') <> 2 then
        raise exception '0025_export_order: an export reads a whole table every second';
    end if;
    if not has_table_privilege('vctl_audit_ro', 'vctl.access_change', 'select') then
        raise exception '0025_export_order: an auditor cannot read vctl.access_change';
    end if;
    select string_agg(login, ', ') into missing
    from unnest(array['vctl_ro', 'vctl_rw', 'vctl_identity', 'vctl_audit_ro', 'vctl_audit_writer',
        'vctl_audit_ingest', 'vctl_status', 'vctl_pruner', 'vctl_vault']) login
    where has_table_privilege(login, 'vctl.access_change', 'insert, update, delete, truncate');
    if missing is not null then
        raise exception '0025_export_order: % can hide an access from an export', missing;
    end if;
end
$$;
