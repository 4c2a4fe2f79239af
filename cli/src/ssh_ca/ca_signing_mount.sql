-- Runs as vctl-ro or vctl-audit-writer. $1 the configured mount. Returns it or the mount beside it, never another.
select mount from vctl.ca_keys
where state = 'active' and mount in ($1::text, $1::text || '-next')
order by added_at desc limit 1
