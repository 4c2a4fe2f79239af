-- Runs as vctl-revoke. $1 whole display names.
select id, hostname, login_user, vault_user, key_id, opened_at, closed_at, host_seen_s, host_asks
from vctl.sessions_of_v1($1)
