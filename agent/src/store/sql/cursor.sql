-- Runs as vctl-audit-ingest-<host>. $1 is the spool's id.
select cursor_segment, cursor_offset, cursor_check from vctl.cursor_v1($1)
