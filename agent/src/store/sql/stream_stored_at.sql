-- Runs as vctl-stream-ingest. $1 is the host, $2 its spool's id, $3 a boot of it.
select stored_at, wall from vctl.stream_stored_at_v1($1, $2, $3)
