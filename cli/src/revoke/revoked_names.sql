-- Runs as vctl-revoke.
select name from vctl.revoked_names_v1()
