-- Runs as vctl-revoke. $1 whole display names.
select serial from vctl.certificates_of_v1($1)
