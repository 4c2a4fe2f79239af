-- Runs as vctl-audit-ro. Logins with certificates of our own CAs that are in nobody's access row: the
-- certificate was signed past `vctl ssh`, or its row is lost. Newest first.
-- $1 part of the host's name, $2 part of the person's whole name, $3 source address, $4 and $5 opened
-- since and before, $6 at most so many.
select s.id
from vctl.audit_session s
where s.vault_user is not null and s.cert_serial is not null and s.opened is not null
  and ($1::text is null or s.host_id in
          (select id from vctl.audit_host where position(lower($1) in lower(hostname)) > 0))
  and ($2::text is null or position(lower($2) in lower(s.vault_user)) > 0)
  and ($3::inet is null or s.source_ip = $3)
  and ($4::timestamptz is null or s.opened_at >= $4)
  and ($5::timestamptz is null or s.opened_at < $5)
  and not exists (select from vctl.access_log a
                  where a.cert_serial = s.cert_serial and a.ca_fingerprint = s.ca_fingerprint
                    and a.vault_user = s.vault_user)
  and not exists (select from vctl.access_hop h join vctl.access_log a on a.id = h.access_id
                  where h.cert_serial = s.cert_serial and h.ca_fingerprint = s.ca_fingerprint
                    and a.vault_user = s.vault_user)
order by s.opened_at desc, s.id desc
limit $6
