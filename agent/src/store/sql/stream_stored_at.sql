-- Runs as vctl-stream-ingest. $1 is the host, $2 its spool's id, $3 a boot of it.
select vctl.stream_stored_at_v1($1, $2, $3) as stored_at
