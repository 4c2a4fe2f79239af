-- Runs as vctl-audit-ro. Sessions, newest first, with everything known about them except their events.
-- $1 ids, $2 serial, $3 part of a present or former name of a host, $4 person (shown or whole name), $5 opened since,
-- $6 opened before, $7 maximum number of rows, $8 whether to look up the requests of the certificate; if not,
-- `requests` is null.
-- A condition whose parameter is null is removed when the statement is planned with its values.
with wanted as (
    select s.*
    from vctl.audit_session s
    where ($1::uuid[] is null or s.id = any ($1))
      and ($2::text is null or s.cert_serial = $2::text::numeric)
      and ($3::text is null or s.host_id in
              (select id from vctl.audit_host where position(lower($3) in lower(hostname)) > 0
               union select host_id from vctl.host_former_name where position(lower($3) in lower(hostname)) > 0))
      -- A name that is not proven is found too; the reader shows that it is not proven.
      and ($4::text is null or s.vault_user = $4 or vctl.person(s.vault_user) = $4
           or s.vault_user is null and (s.key_id = $4 or vctl.person(s.key_id) = $4))
      and ($5::timestamptz is null or s.opened_at >= $5)
      and ($6::timestamptz is null or s.opened_at < $6)
      and s.opened is not null
    order by s.opened_at desc, s.id desc
    limit $7
)
select s.id, h.hostname, s.boot_id, s.opened::text, s.opened_wall, s.closed::text, s.closed_wall,
    s.ca_fingerprint, s.cert_serial::text, s.key_id, s.vault_user, k.mount,
    s.stored, s.execs, s.last_seq, s.last_event_at, s.first_day::text, s.last_day::text,
    own.gaps, host_wide.gaps, asked.requests, s.opened_at, s.login_user,
    doubt.words as contradictions,
    -- True unless the host reported in that boot within a day: then it is unknown whether the session goes on.
    s.closed_at is null and not exists (
        select from vctl.ingest_machine m
        where m.host_id = s.host_id and m.boot_id = s.boot_id and m.last_seen > now() - interval '1 day')
    and not exists (
        select from vctl.server_status t
        where t.hostname = h.hostname and t.boot_id = s.boot_id and t.reported_at > now() - interval '1 day') as unheard
from wanted s
join vctl.audit_host h on h.id = s.host_id
left join vctl.ca_keys k on k.fingerprint = s.ca_fingerprint
cross join lateral vctl.login_contradictions(s.id) doubt
cross join lateral (
    select array_agg(g.gap::text order by g.id) as gaps from vctl.audit_gap g where g.session_id = s.id
) own
-- Gaps of other times are removed later, by comparing the boot clock.
cross join lateral (
    select array_agg(g.gap::text order by g.id) as gaps from vctl.audit_gap g
    where g.session_id is null and g.host_id = s.host_id and g.boot_id = s.boot_id
) host_wide
-- Two CAs may use the same serial for different certificates. The person's own rows come first, so that rows of
-- others cannot displace them.
cross join lateral (
    select case when $8 then coalesce(jsonb_agg(to_jsonb(r) order by r.at_us), '[]') end as requests
    from (
        select a.vault_user, (extract(epoch from greatest(least(a.opened_at, '2262-12-31'), '1970-01-01')) * 1000000)::bigint as at_us,
            left(a.hostname, 4096) as hostname,
            exists (select from vctl.access_hop hop where hop.access_id = a.id
                    and hop.cert_serial = s.cert_serial and hop.ca_fingerprint = s.ca_fingerprint) as is_hop,
            host(a.source_ip) as source_ip, a.source_port, a.client_user, a.client_host
        from (
            select id from vctl.access_log
            where $8 and cert_serial = s.cert_serial and ca_fingerprint = s.ca_fingerprint
            union
            select access_id from vctl.access_hop
            where $8 and cert_serial = s.cert_serial and ca_fingerprint = s.ca_fingerprint
        ) named
        join vctl.access_log a on a.id = named.id
        order by a.vault_user is distinct from s.vault_user, a.opened_at
        limit 11
    ) r
) asked
order by s.opened_at desc, s.id desc
