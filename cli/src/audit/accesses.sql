-- After wanted.sql: everything known about the requests.
-- A schema older than 0012_limits allows texts of any length.
select a.id, left(a.vault_user, 4096), a.opened_at, a.recorded_at, a.replayed, a.closed_at, a.result, a.exit_code, a.error,
    left(a.hostname, 4096), left(a.login_user, 4096), a.target_addr, a.target_port,
    array(select left(jump, 4096) from unnest(a.jump_via[1:32]) with ordinality as j (jump, nr) order by nr),
    left(a.ca_fingerprint, 4096), a.cert_serial::text, left(a.key_id, 4096), a.command, a.source_ip, a.source_port, a.client_host, a.client_user, a.vctl_version,
    way.hops, seen.sessions, seen.contradicted,
    on_host.sessions, on_host.ended_at, on_host.status
from wanted a
cross join lateral (
    select jsonb_agg(jsonb_build_object('hostname', left(h.hostname, 4096),
        'ca_fingerprint', left(h.ca_fingerprint, 4096), 'cert_serial', h.cert_serial::text) order by h.hop) as hops
    from vctl.access_hop h where h.access_id = a.id and h.hop <= 32
) way
-- Only sessions of this person: a row may name any serial.
cross join lateral (
    select array_agg(s.id order by s.opened_at) as sessions,
        array_agg(s.id order by s.opened_at)
            filter (where array_remove(doubt.words, 'source_address') <> '{}') as contradicted
    from (
        select id, opened_at from vctl.audit_session
        where cert_serial = a.cert_serial and ca_fingerprint = a.ca_fingerprint and vault_user = a.vault_user
        order by opened_at limit 100
    ) s
    cross join lateral vctl.login_contradictions(s.id) doubt
) seen
-- The host's record of the end, if the client does not know it; else null.
left join lateral (
    select count(*) as sessions,
        case when bool_and(s.closed_at is not null) then max(s.closed_at) end as ended_at,
        case when count(*) = 1 then min(own.status) end as status
    from (
        select id, closed_at, first_day, last_day, stored,
            case when entry.login_uid ~ '^[0-9]{1,10}$' then entry.login_uid::bigint end as login_uid
        from vctl.audit_session
        -- As vctl.without_escapes, which an older schema does not have: `->>` fails on a NUL anywhere in the entry.
        cross join lateral (
            select replace(opened::text, E'\\u', E'\\/u')::json ->> 'login_uid' as login_uid
        ) entry
        where cert_serial = a.cert_serial and ca_fingerprint = a.ca_fingerprint and vault_user = a.vault_user
          and opened is not null
        limit 100
    ) s
    -- The program that sshd started for the user: its parent executed none. If several match, none is used.
    left join lateral (
        select case when count(*) = 1 then min(last.status) end as status
        from (
            select e.pid, min(e.seq) as seq
            from vctl.kernel_event e
            where s.stored <= 5000 and e.session_id = s.id and e.day between s.first_day and s.last_day and e.kind = 1
              and (coalesce(s.login_uid, 0) = 0 or e.uid = s.login_uid)
              and not exists (select from vctl.kernel_event p
                              where p.session_id = s.id and p.day between s.first_day and s.last_day
                                and p.kind = 1 and p.pid = e.ppid)
            group by e.pid
        ) first
        left join lateral (
            select x.status from vctl.kernel_event x
            where x.session_id = s.id and x.day between s.first_day and s.last_day
              and x.kind = 2 and x.pid = first.pid and x.seq > first.seq
            order by x.seq limit 1
        ) last on true
    ) own on true
) on_host on a.result in ('open', 'closed')
order by a.opened_at desc, a.id desc
