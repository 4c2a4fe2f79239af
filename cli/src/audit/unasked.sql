-- Runs as vctl-audit-ro. Logins that the access log does not explain: with a certificate of our own CAs that
-- is in no row of its person (signed past `vctl ssh`, or the row is lost), or contradicted by the row, the
-- certificate or another session, or with a certificate that cannot be read. Newest first.
-- $1 part of the host's name, $2 part of the person's whole name, $3 source address, $4 and $5 opened
-- since and before, $6 at most so many.
select s.id
from vctl.audit_session s
cross join lateral vctl.login_contradictions(s.id) doubt
-- A certificate that the agent could not read names nobody, and explains nothing.
cross join lateral (
    select coalesce((s.opened -> 'auth' -> 'unreadable_certificate')::text = 'true', false) as certificate
) unreadable
where (s.key_id is not null or unreadable.certificate) and s.opened is not null
  and ($1::text is null or s.host_id in
          (select id from vctl.audit_host where position(lower($1) in lower(hostname)) > 0))
  and ($2::text is null or position(lower($2) in lower(s.key_id)) > 0)
  and ($3::inet is null or s.source_ip = $3)
  and ($4::timestamptz is null or s.opened_at >= $4)
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
limit $6
