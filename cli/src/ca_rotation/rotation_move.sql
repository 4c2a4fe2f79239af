-- Runs as vctl-rw. $1 fingerprint of the active CA, $2 fingerprint of the next one. Changes both or neither.
update vctl.ca_keys k
set state = case when k.fingerprint = $1::text then 'leaving' else 'active' end, state_since = now()
where k.fingerprint in ($1::text, $2::text)
  and exists (select from vctl.ca_keys where fingerprint = $1::text and state = 'active')
  and exists (select from vctl.ca_keys where fingerprint = $2::text and state = 'next')
