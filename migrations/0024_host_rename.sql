-- A host can be renamed without a break in its records.
--
-- Records, cursors and reports refer to the id of a host in vctl.audit_host. A host that was enrolled again under a new
-- name got a new id, and `ingest_v1` refused the sessions that the spool had begun under the old one. Now a rename
-- changes the name of the id, in one transaction with the inventory, and the former name is recorded.
--
-- A login that Vault created for the former name still belongs to the host, so the host ships until its new credentials
-- are installed. A former name therefore never becomes the name of another host.

-- Never changed, not even by the owner of the schema.
create table vctl.host_former_name (
    hostname   vctl.host_name not null,
    host_id    integer        not null references vctl.audit_host,
    until      timestamptz    not null default now(),
    -- Whole display name of the person, proven by the login.
    renamed_by text           not null check (length(renamed_by) <= 1024),
    login      text           not null default session_user,
    primary key (hostname, until)
);
create index on vctl.host_former_name (host_id, until);
create trigger append_only before update or delete or truncate on vctl.host_former_name
    for each statement execute function vctl.refuse_change();
revoke update, delete, truncate on vctl.host_former_name from vctl_owner;
grant select on vctl.host_former_name to vctl_ro, vctl_rw, vctl_audit_ro;

-- Returns the present name of another host that had this name before; null if no other host had it.
create function vctl.renamed_from(p_hostname text) returns text
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select h.hostname
    from vctl.host_former_name f join vctl.audit_host h on h.id = f.host_id
    where f.hostname = p_hostname
      and not exists (select from vctl.audit_host own where own.hostname = p_hostname)
    order by f.until desc
    limit 1
$$;

-- As in 0002_identity. A login from before a rename belongs to the renamed host.
create or replace function vctl.login_host() returns text
    language plpgsql stable security definer
    set search_path = vctl, pg_temp
as $$
declare
    host text;
begin
    select coalesce(vctl.renamed_from(hostname), hostname) into host from vctl.db_login where login = session_user;
    if host is null then
        raise exception 'login `%` belongs to no host', session_user
            using errcode = 'insufficient_privilege',
                  hint = 'enrol the host: vctl host enroll HOST';
    end if;
    if not exists (select from vctl.servers where hostname = host) then
        raise exception 'host `%` is not in the inventory', host
            using errcode = 'VC001',
                  hint = format('put it back: vctl add %s; or complete its rename: vctl host rename %s NEW', host, host);
    end if;
    return host;
end
$$;

-- Refuses the former name of another host for a new id, and for a host with an identity. The first case is a batch that
-- began before the rename: the agent sends it again. A host without an identity may have such a name: it has no records.
create function vctl.refuse_former_name() returns trigger
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    renamed text := vctl.renamed_from(new.hostname);
begin
    if renamed is not null then
        raise exception '`%` is a former name of host `%`', new.hostname, renamed
            using errcode = 'VC002', hint = 'choose another name for the host';
    end if;
    return new;
end
$$;
create trigger refuse_former_name before insert on vctl.audit_host
    for each row execute function vctl.refuse_former_name();
create trigger refuse_former_name before insert or update of hostname, enrolled_at on vctl.servers
    for each row when (new.enrolled_at is not null)
    execute function vctl.refuse_former_name();

-- Renames a host: its inventory row, with what refers to it, and its id. Returns `renamed`, or `done` for a host that
-- was renamed so before.
--
-- p_inventory_renamed says that the row NEW of the inventory is this host: `vctl edit --name` renamed it before.
-- Refusals have the code VC003, and VC004 if only this statement is missing.
create function vctl.host_rename_v1(p_display_name text, p_old text, p_new text, p_inventory_renamed boolean)
    returns text
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person   text := vctl.named('the display name', vctl.login_person(p_display_name), 1024);
    old_name vctl.host_name := p_old;
    new_name vctl.host_name := p_new;
    host_no  integer;
    other_no integer;
    renamed  text;
    is_old   boolean;
    is_new   boolean;
begin
    if old_name is null or new_name is null or old_name = new_name then
        raise exception 'a rename has two different names' using errcode = 'VC003';
    end if;
    -- One rename at a time, and no new host meanwhile: a batch that began before the rename must not create the old
    -- name again. Batches of known hosts go on.
    lock table vctl.audit_host in share row exclusive mode;
    renamed := vctl.renamed_from(old_name);
    if renamed = new_name then
        return 'done';
    end if;
    if renamed is not null then
        raise exception '`%` was renamed to `%`', old_name, renamed
            using errcode = 'VC003', hint = format('vctl host rename %s %s', renamed, new_name);
    end if;

    is_old := exists (select from vctl.servers where hostname = old_name);
    is_new := exists (select from vctl.servers where hostname = new_name);
    select id into host_no from vctl.audit_host where hostname = old_name;
    if is_old and is_new then
        raise exception 'the host `%` is already in the inventory', new_name
            using errcode = 'VC003', hint = 'choose another name, or delete that host first';
    elsif not is_old and not (is_new and (host_no is not null or coalesce(p_inventory_renamed, false))) then
        raise exception 'there is no host `%` in the inventory', old_name
            using errcode = 'no_data_found', hint = 'vctl list shows the hosts';
    elsif not is_old and not coalesce(p_inventory_renamed, false) then
        raise exception 'the inventory has `%` but not `%`, and both may be different machines', new_name, old_name
            using errcode = 'VC004';
    end if;

    renamed := vctl.renamed_from(new_name);
    if renamed is not null and renamed <> old_name then
        raise exception '`%` is a former name of host `%`', new_name, renamed
            using errcode = 'VC003', hint = 'choose another name';
    end if;
    if renamed is null and not coalesce(p_inventory_renamed, false)
        and exists (select from vctl.db_login where hostname = new_name) then
        raise exception 'another machine logs in as host `%`', new_name
            using errcode = 'VC003', hint = format('vctl host revoke %s ends its identity', new_name);
    end if;
    select id into other_no from vctl.audit_host where hostname = new_name;
    if other_no is not null then
        if exists (select from vctl.audit_session where host_id = other_no)
            or exists (select from vctl.audit_gap where host_id = other_no)
            or exists (select from vctl.ingest_cursor where host_id = other_no and events > 0) then
            raise exception 'there are records of an earlier host `%`, and records of two hosts are never joined', new_name
                using errcode = 'VC003', hint = 'choose another name';
        end if;
        -- An agent that was refused its first batch.
        delete from vctl.session_end_poll where host_id = other_no;
        delete from vctl.ingest_cursor where host_id = other_no;
        delete from vctl.ingest_machine where host_id = other_no;
        delete from vctl.audit_host where id = other_no;
    end if;

    -- Before the inventory, whose trigger looks for another host with the name.
    if host_no is null then
        insert into vctl.audit_host (hostname) values (new_name) returning id into host_no;
    else
        update vctl.audit_host set hostname = new_name where id = host_no;
    end if;
    if is_old then
        update vctl.servers set hostname = new_name, updated_at = now() where hostname = old_name;
    end if;
    insert into vctl.host_former_name (hostname, host_id, renamed_by) values (old_name, host_no, person);
    return 'renamed';
end
$$;

revoke all on function vctl.renamed_from(text), vctl.refuse_former_name(),
    vctl.host_rename_v1(text, text, text, boolean) from public;
grant execute on function vctl.host_rename_v1(text, text, text, boolean) to vctl_rw;

-- As in 0015_login_contradictions, with the former names of a host: an access row from before the rename names it by
-- the former name, and so does a row that was written while Postgres was away.
create or replace function vctl.login_contradictions(p_session uuid) returns table (words text[])
    language sql stable rows 1
as $$
    select case
        when s.vault_user is not null then array_remove(array[
            case when own.count > 0 and not own.host then 'host' end,
            case when not own.account then 'account' end,
            case when not own.in_time then 'access_time' end,
            case when not own.port then 'source_port' end,
            case when not own.address then 'source_address' end,
            case when not valid.now then 'validity' end,
            case when twins.other_host then 'two_hosts' end,
            case when twins.same_host and own.count > 0 then 'second_session' end,
            case when twins.other_name then 'serial_reused' end
        ], null)
        when s.key_id is not null and (
            exists (select from vctl.audit_session p where p.vault_user = s.key_id)
            or exists (select from vctl.audit_session p where vctl.person(p.vault_user) = s.key_id)
        ) then array['unknown_ca']
        else '{}'::text[]
    end
    from vctl.audit_session s
    join vctl.audit_host h on h.id = s.host_id
    -- `->` keeps the text of JSON; `->>` would fail on a NUL anywhere in the entry.
    cross join lateral (
        select (s.opened -> 'source_port')::text as port,
            (s.opened -> 'auth' -> 'certificate' -> 'valid_after')::text as valid_after,
            (s.opened -> 'auth' -> 'certificate' -> 'valid_before')::text as valid_before
    ) entry
    cross join lateral (select case when entry.port ~ '^[0-9]{1,5}$' then entry.port end as port) seen
    -- Rows of the person alone: any person may name any serial in a row.
    cross join lateral (
        select count(*) as count, bool_or(r.host) as host, bool_or(r.account) as account,
            bool_or(r.in_time) as in_time, bool_or(r.port) as port, bool_or(r.address) as address
        from (
            select
                case when a.hostname = host(a.target_addr) or a.hostname like '[%' then exists (
                    -- Connected to by address, past the inventory.
                    select from vctl.servers v
                    where v.hostname::text = h.hostname
                      and (v.ip = a.target_addr or a.target_addr = any (v.extra_ips)))
                else lower(a.hostname) = lower(h.hostname) or exists (
                    select from vctl.host_former_name f
                    where f.host_id = h.id and f.hostname = lower(a.hostname)
                      and (a.replayed or a.opened_at < f.until + interval '5 minutes')) end as host,
                a.login_user = s.login_user as account,
                a.replayed or (s.opened_at >= greatest(a.opened_at, '2000-01-01') - interval '5 minutes'
                    and s.opened_at <= coalesce(a.closed_at, 'infinity') + interval '5 minutes') as in_time,
                cardinality(a.jump_via) > 0 or seen.port = a.source_port::text or s.source_ip <> a.source_ip as port,
                cardinality(a.jump_via) > 0 or s.source_ip = a.source_ip as address
            from vctl.access_log a
            where a.cert_serial = s.cert_serial and a.ca_fingerprint = s.ca_fingerprint
              and a.vault_user = s.vault_user
            union all
            select lower(hop.hostname) = lower(h.hostname) or exists (
                    select from vctl.host_former_name f
                    where f.host_id = h.id and f.hostname = lower(hop.hostname)
                      and (a.replayed or a.opened_at < f.until + interval '5 minutes')), null,
                a.replayed or (s.opened_at >= greatest(a.opened_at, '2000-01-01') - interval '5 minutes'
                    and s.opened_at <= coalesce(a.closed_at, 'infinity') + interval '5 minutes'),
                hop.hop > 1 or seen.port = a.source_port::text or s.source_ip <> a.source_ip,
                hop.hop > 1 or s.source_ip = a.source_ip
            from vctl.access_hop hop join vctl.access_log a on a.id = hop.access_id
            where hop.cert_serial = s.cert_serial and hop.ca_fingerprint = s.ca_fingerprint
              and a.vault_user = s.vault_user
        ) r
    ) own
    cross join lateral (
        select bool_or(t.host_id <> s.host_id) as other_host, bool_or(t.host_id = s.host_id) as same_host,
            bool_or(t.key_id is distinct from s.key_id) as other_name
        from vctl.audit_session t
        where t.cert_serial = s.cert_serial and t.ca_fingerprint = s.ca_fingerprint
          and t.id <> s.id and t.opened is not null
    ) twins
    cross join lateral (
        select coalesce(s.opened_at >= to_timestamp(
                case when entry.valid_after ~ '^[0-9]{1,10}$' then entry.valid_after::float8 end) - interval '5 minutes', true)
           and coalesce(s.opened_at <= to_timestamp(
                case when entry.valid_before ~ '^[0-9]{1,10}$' then entry.valid_before::float8 end) + interval '5 minutes', true) as now
    ) valid
    where s.id = p_session
$$;
