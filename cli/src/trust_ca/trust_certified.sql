-- Runs as vctl-rw. $1 a host, $2 fingerprint of its key, $3 fingerprint of the CA, $4 serial, $5 principals, $6 end.
insert into vctl.host_certificate (hostname, key_fingerprint, ca_fingerprint, serial, principals, valid_before)
values ($1::text, $2, $3, $4::text::numeric, $5, $6)
on conflict (hostname) do update
set (key_fingerprint, ca_fingerprint, serial, principals, valid_before, issued_at)
    = (excluded.key_fingerprint, excluded.ca_fingerprint, excluded.serial, excluded.principals,
       excluded.valid_before, now())
