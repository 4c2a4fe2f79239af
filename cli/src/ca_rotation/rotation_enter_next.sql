-- Runs as vctl-rw. $1 fingerprint, $2 public key, $3 mount of the next CA. Only one rotation at a time is allowed.
insert into vctl.ca_keys (fingerprint, public_key, mount, state)
select $1::text, $2::text, $3::text, 'next'
where not exists (
    select from vctl.ca_keys
    where state in ('next', 'leaving')
      and regexp_replace(mount, '-next$', '') = regexp_replace($3::text, '-next$', '')
)
