-- Runs as vctl-audit-ro. $1 and $2 the first and the last time. The certificates in the access log: one row for each
-- target and each jump host.
select a.id, 0 as hop, a.cert_serial::text, left(a.ca_fingerprint, 4096), left(a.vault_user, 4096), left(a.key_id, 4096),
    left(a.hostname, 4096), a.opened_at
from vctl.access_log a
where a.cert_serial is not null and a.opened_at >= $1 and a.opened_at <= $2
union all
select a.id, h.hop, h.cert_serial::text, left(h.ca_fingerprint, 4096), left(a.vault_user, 4096), null,
    left(h.hostname, 4096), a.opened_at
from vctl.access_log a
join vctl.access_hop h on h.access_id = a.id
where h.cert_serial is not null and a.opened_at >= $1 and a.opened_at <= $2
