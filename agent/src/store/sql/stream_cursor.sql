-- Runs as vctl-stream-ingest. $1 is the host, $2 its spool's id.
select cursor_segment, cursor_offset, cursor_check, boot_id, stored_until from vctl.stream_cursor_v1($1, $2)
