-- Runs as vctl-session-end. $1 is the request.
select requested_by, requested_at, taken_at, result, signalled, killed, remaining, detached, problem
from vctl.session_end_state_v1($1)
