-- Runs as vctl-audit-ro. Logins that the access log does not explain: the certificate is of one of our CAs, but no row
-- of its person names it (it was signed without `vctl ssh`, or the row is lost); or a row, the certificate or another
-- session contradicts the login; or the certificate cannot be read. Newest first.
-- After a clause with the sessions to look at: `candidates`.
-- $1 part of a present or former name of the host, $2 part of the person's whole name, $3 source address,
-- $5 opened before.
select s.id
from candidates s
cross join lateral vctl.login_contradictions(s.id) doubt
-- A certificate that the agent could not read has no name, so it explains nothing.
cross join lateral (
    -- As vctl.without_escapes, which an older schema does not have: `->` fails on a NUL anywhere in the entry.
    select coalesce((replace(s.opened::text, E'\\u', E'\\/u')::json
        -> 'auth' -> 'unreadable_certificate')::text = 'true', false) as certificate
) unreadable
where (s.key_id is not null or unreadable.certificate) and s.opened is not null
  and ($1::text is null or s.host_id in
          (select id from vctl.audit_host where position(lower($1) in lower(hostname)) > 0
           union select host_id from vctl.host_former_name where position(lower($1) in lower(hostname)) > 0))
  and ($2::text is null or position(lower($2) in lower(s.key_id)) > 0)
  and ($3::inet is null or s.source_ip = $3)
  and ($5::timestamptz is null or s.opened_at < $5)
  and (s.vault_user is not null
       and not exists (select from vctl.access_log a
                       where a.cert_serial = s.cert_serial and a.ca_fingerprint = s.ca_fingerprint
                         and a.vault_user = s.vault_user)
       and not exists (select from vctl.access_hop h join vctl.access_log a on a.id = h.access_id
                       where h.cert_serial = s.cert_serial and h.ca_fingerprint = s.ca_fingerprint
                         and a.vault_user = s.vault_user)
       or unreadable.certificate
       or array_remove(doubt.words, 'source_address') <> '{}')
order by s.opened_at desc, s.id desc
