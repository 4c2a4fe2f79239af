-- Runs as vctl-session-end. $1 whole display name, $2 session, $3 reason.
select request, is_new from vctl.request_session_end_v1($1, $2, $3)
