-- Runs as vctl-revoke. $1 revocation, $2 outcome.
select vctl.finish_revocation_v1($1, $2)
