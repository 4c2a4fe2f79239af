-- A host can ship sessions with the serial of a certificate it was shown once. What it ships is compared
-- with the access rows of that certificate, and with the other sessions that name it.
--
-- One function holds the rules, so that `vctl session`, `vctl audit --unasked` and `vctl fleet` mark the
-- same logins. The signature of the certificate itself is verified by `vctl`.

-- Returns one word per contradiction, `{}` for a login that nothing contradicts:
--   host            no access row of this certificate names the host, as target or as jump host
--   account         the row is for another account
--   access_time     the login lies outside the time between the row's opening and its end
--   source_port     the row has the same source address and another source port
--   source_address  the row has another source address: NAT does this too, so it is only a remark
--   validity        the login lies outside the validity of the certificate
--   two_hosts       another host reported a session of this certificate
--   second_session  the same host reported another session of it, and a certificate is for one connection
--   serial_reused   another session has this CA and serial, and another key id
--   unknown_ca      the key id is the name of a person of ours, and the CA is none of ours
-- Clocks of hosts may differ from the database's by five minutes. A row that waited on its client has the
-- client's clock, so its times are not compared.
--
-- What a host wrote is compared as text and never cast: one odd entry must not end the query of all others.
--
-- Without `set search_path` and as a table, so that Postgres plans it as a part of the caller's statement: called
-- for each row it took ten times as long. It has no rights of its own.
create function vctl.login_contradictions(p_session uuid) returns table (words text[])
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
                else lower(a.hostname) = lower(h.hostname) end as host,
                a.login_user = s.login_user as account,
                a.replayed or (s.opened_at >= greatest(a.opened_at, '2000-01-01') - interval '5 minutes'
                    and s.opened_at <= coalesce(a.closed_at, 'infinity') + interval '5 minutes') as in_time,
                cardinality(a.jump_via) > 0 or seen.port = a.source_port::text or s.source_ip <> a.source_ip as port,
                cardinality(a.jump_via) > 0 or s.source_ip = a.source_ip as address
            from vctl.access_log a
            where a.cert_serial = s.cert_serial and a.ca_fingerprint = s.ca_fingerprint
              and a.vault_user = s.vault_user
            union all
            select lower(hop.hostname) = lower(h.hostname), null,
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

revoke all on function vctl.login_contradictions(uuid) from public;
grant execute on function vctl.login_contradictions(uuid) to vctl_audit_ro;

-- Logins of the last seven days by host, the newest 2,000 of the fleet: `vctl fleet` may show how many are
-- doubtful, and not whose they are.
create function vctl.doubtful_logins_v1()
    returns table (hostname text, contradicted bigint, unknown_ca bigint)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select h.hostname,
        count(*) filter (where array_remove(doubt.words, 'source_address') <> '{}'),
        count(*) filter (where s.vault_user is null)
    from (
        select id, host_id, vault_user from vctl.audit_session
        where opened_at > now() - interval '7 days' and opened_at < now() + interval '1 day'
          and key_id is not null and opened is not null
        order by opened_at desc
        limit 2000
    ) s
    join vctl.audit_host h on h.id = s.host_id
    cross join lateral vctl.login_contradictions(s.id) doubt
    group by h.hostname
$$;

revoke all on function vctl.doubtful_logins_v1() from public;
grant execute on function vctl.doubtful_logins_v1() to vctl_ro;
