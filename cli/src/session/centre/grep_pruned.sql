-- Runs as vctl-audit-ro. Sessions of a search without their first events, which retention has deleted:
-- the partition of their first day is gone. One row: their number, at most $7 plus one, and the oldest day with events.
-- $1 part of a present or former name of a host, $2 person, $3 and $4 opened since and before, $5 serial, $6 id.
with kept as (
    select array_agg(day) as days, min(day) as oldest from vctl.event_days()
)
select (
    select count(*) from (
        select from vctl.audit_session s
        where ($1::text is null or s.host_id in
                  (select id from vctl.audit_host where position(lower($1) in lower(hostname)) > 0
                   union select host_id from vctl.host_former_name where position(lower($1) in lower(hostname)) > 0))
          and ($2::text is null or s.vault_user = $2 or vctl.person(s.vault_user) = $2
               or s.vault_user is null and (s.key_id = $2 or vctl.person(s.key_id) = $2))
          and ($3::timestamptz is null or s.opened_at >= $3)
          and ($4::timestamptz is null or s.opened_at < $4)
          and ($5::text is null or s.cert_serial = $5::text::numeric)
          and ($6::uuid is null or s.id = $6)
          and s.opened is not null and s.stored > 0
          and s.first_day <> all (coalesce(kept.days, '{}'))
        limit $7::bigint + 1
    ) pruned
), kept.oldest::text
from kept
