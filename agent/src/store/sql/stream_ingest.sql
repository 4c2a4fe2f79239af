-- Runs as vctl-stream-ingest. $1 is the host; the others are those of ingest.sql, one further.
select cursor_segment, cursor_offset, cursor_check, other_machine
from vctl.stream_ingest_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                           $18, $19, $20, $21, $22, $23, $24)
