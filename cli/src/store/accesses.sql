-- Runs as vctl-audit-ro. Who asked to be let in where, newest first.
-- $1 part of the host's name, $2 part of the person's whole name (neither minds case; `%` and `_`
-- are what they are), $3 source address, $4 and $5 opened since and before, $6 only what failed,
-- $7 at most so many.
with wanted as (
    select a.*
    from vctl.access_log a
    where ($1::text is null or position(lower($1) in lower(a.hostname)) > 0)
      and ($2::text is null or position(lower($2) in lower(a.vault_user)) > 0)
      and ($3::inet is null or a.source_ip = $3)
      and ($4::timestamptz is null or a.opened_at >= $4)
      and ($5::timestamptz is null or a.opened_at < $5)
      and (not $6 or a.result in ('failed', 'refused'))
    order by a.opened_at desc, a.id desc
    limit $7
)
-- A schema from before 0012_limits has texts of any length.
select a.id, left(a.vault_user, 4096), a.opened_at, a.recorded_at, a.replayed, a.closed_at, a.result, a.exit_code, a.error,
    left(a.hostname, 4096), left(a.login_user, 4096), a.target_addr, a.target_port,
    array(select left(jump, 4096) from unnest(a.jump_via[1:32]) with ordinality as j (jump, nr) order by nr),
    left(a.ca_fingerprint, 4096), a.cert_serial::text, left(a.key_id, 4096), a.command, a.source_ip, a.source_port, a.client_host, a.client_user, a.vctl_version,
    way.hops, seen.sessions, seen.contradicted
from wanted a
cross join lateral (
    select jsonb_agg(jsonb_build_object('hostname', left(h.hostname, 4096),
        'ca_fingerprint', left(h.ca_fingerprint, 4096), 'cert_serial', h.cert_serial::text) order by h.hop) as hops
    from vctl.access_hop h where h.access_id = a.id and h.hop <= 32
) way
-- Of this person only: a row may name any serial.
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
order by a.opened_at desc, a.id desc
