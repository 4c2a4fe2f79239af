-- Runs as vctl-audit-ro. The beginning of a statement about requests for access: `wanted` has them, newest first.
-- $1 part of a present or former name of the host, $2 part of the person's whole name
-- (both ignore case; `%` and `_` are literal), $3 source address, $4 and $5 opened since and before,
-- $6 whether to return only failed ones, $7 maximum number of rows, $8 ids, null for any.
with wanted as (
    select a.*
    from vctl.access_log a
    where ($1::text is null or position(lower($1) in lower(a.hostname)) > 0
           -- The row has another name of a renamed host, and is from the time of that name.
           or exists (
               select from vctl.host_former_name f
               join vctl.audit_host h on h.id = f.host_id
               where (lower(a.hostname) = f.hostname and (a.replayed or a.opened_at < f.until)
                      or lower(a.hostname) = h.hostname and a.opened_at >= f.until)
                 and (position(lower($1) in h.hostname) > 0
                      or exists (select from vctl.host_former_name other
                                 where other.host_id = h.id and position(lower($1) in other.hostname) > 0))))
      and ($2::text is null or position(lower($2) in lower(a.vault_user)) > 0)
      and ($3::inet is null or a.source_ip = $3)
      and ($4::timestamptz is null or a.opened_at >= $4)
      and ($5::timestamptz is null or a.opened_at < $5)
      and (not $6 or a.result in ('failed', 'refused'))
      and ($8::bigint[] is null or a.id = any ($8))
    order by a.opened_at desc, a.id desc
    limit $7
)
