-- Raises when something of 0011_ssh_trust is missing. Changes nothing.
do $$
declare
    missing text;
begin
    if not exists (select from pg_constraint
                   where conrelid = 'vctl.ca_keys'::regclass and conname = 'ca_keys_state_check'
                     and pg_get_constraintdef(oid) like '%leaving%') then
        raise exception '0011_ssh_trust: a CA cannot be leaving';
    end if;
    if not exists (select from pg_attribute
                   where attrelid = 'vctl.ca_keys'::regclass and attname = 'state_since' and not attisdropped) then
        raise exception '0011_ssh_trust: ca_keys has no state_since';
    end if;
    select string_agg(wanted, ', ') into missing
    from unnest(array['vctl.host_trust', 'vctl.host_certificate']) wanted
    where to_regclass(wanted) is null;
    if missing is not null then
        raise exception '0011_ssh_trust: no table %', missing;
    end if;
    select string_agg(wanted, ', ') into missing
    from unnest(array['host_trust_hostname_fkey', 'host_certificate_hostname_fkey']) wanted
    where not exists (select from pg_constraint where conname = wanted and contype = 'f' and confupdtype = 'c');
    if missing is not null then
        raise exception '0011_ssh_trust: what is known of a host does not follow its name: %', missing;
    end if;
    select string_agg(format('%s on %s to %s', w, t, r), ', ') into missing
    from unnest(array['vctl.host_trust', 'vctl.host_certificate']) t,
         unnest(array['select', 'insert', 'update', 'delete']) w,
         unnest(array['vctl_ro', 'vctl_rw', 'vctl_audit_ro']) r
    where (r = 'vctl_rw' or w = 'select') and not has_table_privilege(r, t, w);
    if not has_table_privilege('vctl_audit_writer', 'vctl.ca_keys', 'select') then
        raise exception '0011_ssh_trust: vctl_audit_writer cannot read which CA signs';
    end if;
    if missing is not null then
        raise exception '0011_ssh_trust: no right to %', missing;
    end if;
end
$$;
