-- Runs as vctl-audit-ingest-<host>. $1 is the boot id.
select is_crowded, requests from vctl.session_ends_v1($1)
