-- Runs as vctl-audit-ro. Sessions that were stored before an export began, oldest first.
-- $1 part of a present or former name of a host, $2 person, $3 and $4 opened since and before, $5 and $6 where the export began: the oldest
-- transaction that was running, and the time; $7 and $8 the last session of the previous page, $9 maximum number of rows.
select s.id, to_char(s.opened_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'
from vctl.audit_session s
where s.opened is not null
  and ($1::text is null or s.host_id in
          (select id from vctl.audit_host where position(lower($1) in lower(hostname)) > 0
           union select host_id from vctl.host_former_name where position(lower($1) in lower(hostname)) > 0))
  and ($2::text is null or s.vault_user = $2 or vctl.person(s.vault_user) = $2
       or s.vault_user is null and (s.key_id = $2 or vctl.person(s.key_id) = $2))
  and ($3::timestamptz is null or s.opened_at >= $3)
  and ($4::timestamptz is null or s.opened_at < $4)
  -- The others arrive while the export runs. Both bounds are for a database restored from a dump, as in followed.sql.
  and not coalesce(s.arrived >= $5::text::xid8 and s.arrived_at > $6::timestamptz - interval '1 hour', false)
  and ($7::text is null or (s.opened_at, s.id) > ($7::text::timestamptz, $8::uuid))
order by s.opened_at, s.id
limit $9
