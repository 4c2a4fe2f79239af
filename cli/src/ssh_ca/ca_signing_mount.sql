-- Runs as vctl-ro or vctl-audit-writer. $1 the configured mount; no other than it and the one beside it is ever returned.
select mount from vctl.ca_keys
where state = 'active' and mount in ($1::text, $1::text || '-next')
order by added_at desc limit 1
