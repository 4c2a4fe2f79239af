-- Runs as vctl-audit-ro. $1 fingerprints of our CAs, $2 and $3 the first and the last time. The sessions with a
-- certificate of one of these CAs.
select s.id, s.cert_serial::text, s.ca_fingerprint, left(s.key_id, 4096), left(h.hostname, 4096), s.opened_at,
    -- As vctl.without_escapes, which an older schema does not have: `->` fails on a NUL anywhere in the entry.
    (replace(s.opened::text, E'\\u', E'\\/u')::json -> 'auth' -> 'certificate' -> 'valid_after')::text
from vctl.audit_session s
join vctl.audit_host h on h.id = s.host_id
where s.cert_serial is not null and s.ca_fingerprint = any ($1)
  and s.opened_at >= $2 and s.opened_at <= $3
