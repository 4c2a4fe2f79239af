-- Runs as vctl-audit-ro. Sessions, newest first, with all that is said of them but their events.
-- $1 ids, $2 serial, $3 part of a host's name, $4 person (shown or whole name), $5 opened since,
-- $6 opened before, $7 at most so many, $8 whether to look for the requests of the certificate; they are null
-- where it was not looked.
-- A condition that is null is gone when the statement is planned with its values.
with wanted as (
    select s.*
    from vctl.audit_session s
    where ($1::uuid[] is null or s.id = any ($1))
      and ($2::text is null or s.cert_serial = $2::text::numeric)
      and ($3::text is null or s.host_id in
              (select id from vctl.audit_host where position(lower($3) in lower(hostname)) > 0))
      -- A name that is not proven is found as well, and shown as one.
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
    -- Its host spoke in that boot within a day, or nobody knows whether it goes on.
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
-- Those of other times fall out where the boot clock is compared.
cross join lateral (
    select array_agg(g.gap::text order by g.id) as gaps from vctl.audit_gap g
    where g.session_id is null and g.host_id = s.host_id and g.boot_id = s.boot_id
) host_wide
-- Serials of two CAs are two certificates. The person's own rows first: nobody can crowd them out.
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
