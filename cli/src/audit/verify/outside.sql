-- Runs as vctl-audit-ro. $1 fingerprints of our CAs, $2 and $3 the first and the last time that is read. The number of
-- certificates in access rows and of sessions with a certificate of one of these CAs before or after it.
select
    (select count(a.cert_serial) + coalesce(sum(
         (select count(h.cert_serial) from vctl.access_hop h where h.access_id = a.id)), 0)::bigint
     from vctl.access_log a
     where a.opened_at < $2 or a.opened_at > $3),
    (select count(*) from vctl.audit_session s
     where s.cert_serial is not null and s.ca_fingerprint = any ($1) and (s.opened_at < $2 or s.opened_at > $3))
