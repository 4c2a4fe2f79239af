-- Runs as vctl-audit-ro. $1 and $2 the first and the last time. The attempts that ended before the client knew a
-- certificate.
select a.id, left(a.vault_user, 4096), left(a.hostname, 4096), a.opened_at
from vctl.access_log a
where a.cert_serial is null and a.opened_at >= $1 and a.opened_at <= $2
