-- Runs as vctl-revoke. $1 whole display name of the caller, $2 names of the user, $3 entity, $4 reason.
select vctl.begin_revocation_v1($1, $2, $3, $4)
