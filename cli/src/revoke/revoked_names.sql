-- Runs as vctl-session-end.
select name from vctl.revoked_names_v1()
