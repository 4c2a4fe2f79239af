-- Runs as vctl-session-end. Sessions whose ids are between $1 and $2, at most 11.
select id, hostname, login_user, vault_user, key_id, opened_at, closed_at, host_seen_s, host_asks
from vctl.session_to_end_v1($1, $2)
