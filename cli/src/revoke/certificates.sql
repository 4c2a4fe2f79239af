-- Runs as vctl-session-end. $1 whole display names.
select serial from vctl.certificates_of_v1($1)
