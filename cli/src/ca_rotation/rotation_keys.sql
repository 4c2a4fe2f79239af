-- Runs as vctl-ro. $1 the configured mount. The CAs at this mount and at the one beside it that are not retired.
select fingerprint, public_key, mount, state, state_since from vctl.ca_keys
where mount in ($1::text, $1::text || '-next') and state in ('next', 'active', 'leaving')
