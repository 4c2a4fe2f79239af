-- Runs as vctl-stream-ingest. $1 is the host, $2 its spool's id.
select name from vctl.stream_names_v1($1, $2) name
