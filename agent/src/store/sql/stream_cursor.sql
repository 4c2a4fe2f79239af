-- Runs as vctl-stream-ingest. $1 is the host, $2 its spool's id.
select cursor_segment, cursor_offset, cursor_check, moved_at from vctl.stream_cursor_v1($1, $2)
